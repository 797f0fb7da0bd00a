//! One connection to one server, and the calls of SPIRE's API over it.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lepton_spiffe::{Bundle, JwtSvid, SpiffeId, TrustDomain};
use lepton_spiffe_api::spire::api::server::agent::v1 as agent;
use lepton_spiffe_api::spire::api::server::bundle::v1 as bundle;
use lepton_spiffe_api::spire::api::server::entry::v1 as entry;
use lepton_spiffe_api::spire::api::server::svid::v1 as svid;
use lepton_spiffe_api::spire::api::types;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::{Service, StdError, http::Uri};
use tonic::transport::{Channel, Endpoint};

use super::convert;
use super::denied::error;
use super::tls::said;
use crate::attest::NodeAttestor;
use crate::authority::{AuthorityError, Chain, Csr, Entry, Tainted};

/// What a server gets to answer in, so that another one is tried soon.
const CONNECT: Duration = Duration::from_secs(5);
const CALL: Duration = Duration::from_secs(10);
/// Attestation may make the server ask others.
const ATTEST: Duration = Duration::from_secs(30);
/// A connection that is dead is noticed without a call, too.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);
/// Entries of ten thousand workloads.
const LARGEST: usize = 64 * 1024 * 1024;

/// A connection to a server.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    channel: Channel,
}

/// What an attestation gives.
#[derive(Clone, Debug)]
pub(crate) struct Attested {
    /// The host's certificates.
    pub(crate) chain: Chain,
    /// Whether the host can do so again by itself.
    pub(crate) reattestable: bool,
}

impl Link {
    /// Connects. The handshake is over when this is, but for the server's opinion of our certificate.
    pub(crate) async fn connect(address: &str, config: ClientConfig) -> Result<Self, AuthorityError> {
        let dial = Dial { address: address.into(), tls: TlsConnector::from(Arc::new(config)) };
        // TLS is the connector's; this is only the name in headers.
        let endpoint = Endpoint::from_static("http://spire-server")
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true);
        let connected = tokio::time::timeout(CONNECT, endpoint.connect_with_connector(dial)).await;
        let failed = |why: String| AuthorityError::Unavailable(format!("cannot connect: {why}"));
        match connected {
            Ok(Ok(channel)) => Ok(Self { channel }),
            Ok(Err(error)) => Err(failed(cause(&error))),
            Err(_) => Err(failed(format!("no answer within {} seconds", CONNECT.as_secs()))),
        }
    }

    /// Proves who this host is.
    pub(crate) async fn attest(
        &self,
        attestor: &dyn NodeAttestor,
        csr: Vec<u8>,
    ) -> Result<Attested, AuthorityError> {
        in_time(ATTEST, self.attestation(attestor, csr)).await
    }

    async fn attestation(
        &self,
        attestor: &dyn NodeAttestor,
        csr: Vec<u8>,
    ) -> Result<Attested, AuthorityError> {
        use agent::{attest_agent_request as request, attest_agent_response as response};
        let (steps, outgoing) = mpsc::channel(1);
        let payload = attestor.payload().map_err(|error| AuthorityError::Local(error.to_string()))?;
        let data = types::AttestationData { r#type: attestor.name().to_owned(), payload };
        let params = request::Params { data: Some(data), params: Some(agent::AgentX509svidParams { csr }) };
        let send = |step| {
            let steps = &steps;
            async move {
                let sent = steps.send(agent::AttestAgentRequest { step: Some(step) }).await;
                sent.map_err(|_| AuthorityError::Unavailable("the server has closed the stream".to_owned()))
            }
        };
        send(request::Step::Params(params)).await?;
        let mut client = agent::agent_client::AgentClient::new(self.channel.clone());
        let answers = client.attest_agent(Requests(outgoing)).await;
        let mut answers = answers.map_err(|status| error(&status))?.into_inner();
        loop {
            let answer = answers.message().await.map_err(|status| error(&status))?;
            match answer.and_then(|answer| answer.step) {
                Some(response::Step::Result(result)) => {
                    let chain = convert::chain(result.svid)?;
                    return Ok(Attested { chain, reattestable: result.reattestable });
                }
                Some(response::Step::Challenge(challenge)) => {
                    let answer = attestor.respond(&challenge);
                    let answer = answer.map_err(|error| AuthorityError::Local(error.to_string()))?;
                    send(request::Step::ChallengeResponse(answer)).await?;
                }
                None => {
                    return Err(AuthorityError::Unavailable(
                        "the server has ended the attestation".to_owned(),
                    ));
                }
            }
        }
    }

    /// A new certificate for the host itself.
    pub(crate) async fn renew(&self, csr: Vec<u8>) -> Result<Chain, AuthorityError> {
        let request = agent::RenewAgentRequest { params: Some(agent::AgentX509svidParams { csr }) };
        let mut client = agent::agent_client::AgentClient::new(self.channel.clone());
        convert::chain(answered(client.renew_agent(request)).await?.svid)
    }

    /// Makes the server forget the host, where it lets the host do so.
    pub(crate) async fn forget(&self, id: &SpiffeId) -> Result<(), AuthorityError> {
        let id = types::Spiffeid {
            trust_domain: id.trust_domain().as_str().to_owned(),
            path: id.path().to_owned(),
        };
        let mut client = agent::agent_client::AgentClient::new(self.channel.clone());
        answered(client.delete_agent(agent::DeleteAgentRequest { id: Some(id) })).await.map(|_| ())
    }

    /// Entries for this host, and one sentence for each that is left out.
    pub(crate) async fn entries(&self) -> Result<(BTreeMap<String, Entry>, Vec<String>), AuthorityError> {
        let mask = types::EntryMask {
            spiffe_id: true,
            selectors: true,
            federates_with: true,
            dns_names: true,
            x509_svid_ttl: true,
            jwt_svid_ttl: true,
            revision_number: true,
            store_svid: true,
            hint: true,
            created_at: true,
            ..Default::default()
        };
        let request = entry::GetAuthorizedEntriesRequest { output_mask: Some(mask) };
        let mut client =
            entry::entry_client::EntryClient::new(self.channel.clone()).max_decoding_message_size(LARGEST);
        let given = answered(client.get_authorized_entries(request)).await?.entries;
        let (mut entries, mut problems) = (BTreeMap::new(), Vec::new());
        // Those with store_svid are for agents with a store, and no workload's.
        for given in given.into_iter().filter(|entry| !entry.store_svid) {
            match convert::entry(given) {
                Ok(entry) => drop(entries.insert(entry.id.clone(), entry)),
                Err((name, error)) => problems.push(format!("entry {name}: {error}")),
            }
        }
        Ok((entries, problems))
    }

    /// Certificates for workloads.
    pub(crate) async fn x509(
        &self,
        requests: &[Csr],
    ) -> Result<Vec<Result<Chain, AuthorityError>>, AuthorityError> {
        let params = requests
            .iter()
            .map(|csr| svid::NewX509svidParams { entry_id: csr.entry.clone(), csr: csr.der.clone() });
        let request = svid::BatchNewX509svidRequest { params: params.collect() };
        let mut client =
            svid::svid_client::SvidClient::new(self.channel.clone()).max_decoding_message_size(LARGEST);
        let results = answered(client.batch_new_x509svid(request)).await?.results;
        if results.len() != requests.len() {
            let (asked, got) = (requests.len(), results.len());
            return Err(AuthorityError::Unavailable(format!("{asked} SVIDs were asked for, {got} came")));
        }
        Ok(results
            .into_iter()
            .map(|result| match result.status {
                Some(status) if status.code != 0 => {
                    Err(error(&tonic::Status::new(status.code.into(), status.message)))
                }
                _ => convert::chain(result.svid),
            })
            .collect())
    }

    /// A JWT-SVID.
    pub(crate) async fn jwt(&self, of: &Entry, audience: &[String]) -> Result<JwtSvid, AuthorityError> {
        let request = svid::NewJwtsvidRequest { entry_id: of.id.clone(), audience: audience.to_vec() };
        let mut client = svid::svid_client::SvidClient::new(self.channel.clone());
        convert::jwt(answered(client.new_jwtsvid(request)).await?.svid, of)
    }

    /// The bundle of the trust domain, and what is tainted in it.
    pub(crate) async fn bundle(&self) -> Result<(Bundle, Tainted), AuthorityError> {
        let mut client = bundle::bundle_client::BundleClient::new(self.channel.clone());
        convert::bundle(answered(client.get_bundle(bundle::GetBundleRequest::default())).await?)
    }

    /// The bundle of another trust domain.
    pub(crate) async fn federated(&self, domain: &TrustDomain) -> Result<Bundle, AuthorityError> {
        let mut client = bundle::bundle_client::BundleClient::new(self.channel.clone());
        let request =
            bundle::GetFederatedBundleRequest { trust_domain: domain.as_str().to_owned(), output_mask: None };
        convert::bundle(answered(client.get_federated_bundle(request)).await?).map(|(bundle, _)| bundle)
    }
}

async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, AuthorityError>>,
) -> Result<T, AuthorityError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(AuthorityError::Unavailable(format!("no answer within {} seconds", limit.as_secs())))
    })
}

async fn answered<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, AuthorityError> {
    in_time(CALL, async { call.await.map(tonic::Response::into_inner).map_err(|status| error(&status)) })
        .await
}

/// The innermost cause: what is around it says no more than that it was a connection.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// Messages of ours, one after the other, as the server asks for them.
struct Requests(mpsc::Receiver<agent::AttestAgentRequest>);

impl tonic::codegen::tokio_stream::Stream for Requests {
    type Item = agent::AttestAgentRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// Connects to one address, with TLS.
#[derive(Clone)]
struct Dial {
    address: Arc<str>,
    tls: TlsConnector,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = StdError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { address, tls } = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(&*address).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true)?;
            // It is no part of how the server is verified, but the protocol wants one.
            let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(host.to_owned())
                .unwrap_or_else(|_| ServerName::IpAddress(Ipv6Addr::LOCALHOST.into()));
            Ok(TokioIo::new(tls.connect(name, stream).await.map_err(|error| said(&error))?))
        })
    }
}
