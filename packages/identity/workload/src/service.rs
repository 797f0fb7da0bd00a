//! The calls of the SPIFFE Workload API.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lepton_spiffe::{JwtSvid, SpiffeId, UnixSeconds};
use lepton_spiffe_api::workload as api;
use lepton_spiffe_api::workload::spiffe_workload_api_server::SpiffeWorkloadApi;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

use crate::attest::Attestors;
use crate::connection::Caller as From;
use crate::host::Host;
use crate::messages;
use crate::observer::{Caller, Observer};
use crate::record::{Record, Refusal};
use crate::updates::{Compose, Updates, Watched};
use crate::{Identities, JwtError, View};

/// Workload Endpoint section 6: browsers and proxies do not send it.
const HEADER: &str = "workload.spiffe.io";
/// An authority that takes longer does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Names that one token may be for.
const MOST_AUDIENCES: usize = 64;

/// The calls.
pub(crate) struct Service<I> {
    pub(crate) identities: Arc<I>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) attestors: Arc<Attestors>,
    pub(crate) host: Host,
}

/// A caller of which is known who it is.
struct Admitted {
    from: From,
    record: Record,
    /// Its owner has only so many calls at a time; streams give it back.
    turn: OwnedSemaphorePermit,
}

impl<I: Identities> Service<I> {
    /// Checks the header, which comes first, and the arguments; then finds out who calls.
    async fn admit<T>(
        &self,
        request: &Request<T>,
        call: &'static str,
        check: impl FnOnce(&T) -> Result<(), Refusal>,
    ) -> Result<Admitted, Status> {
        let from = request.extensions().get::<From>().cloned();
        let from = from.ok_or_else(|| Status::internal("the connection is not known"))?;
        let peer = &from.peer;
        let caller = Caller {
            pid: peer.pid,
            uid: peer.uid,
            gid: peer.gid,
            cgroup: self.host.cgroup(peer.pid).ok().flatten(),
        };
        let mut record = Record::new(Arc::clone(&self.observer), caller, call);
        if request.metadata().get(HEADER).is_none_or(|value| value != "true") {
            let refusal = Refusal::new(Code::InvalidArgument, "security header missing from request");
            return Err(record.refused(&refusal));
        }
        check(request.get_ref()).map_err(|refusal| record.refused(&refusal))?;
        let turn = Arc::clone(&from.turns).acquire_owned().await;
        let turn = turn.map_err(|_| Status::unavailable("the agent is stopping"))?;
        match self.attestors.attest(peer, &self.host).await {
            Ok(attested) => record.attested(attested),
            Err(error) => {
                let code = if error.may_pass() { Code::Unavailable } else { Code::PermissionDenied };
                return Err(record.refused(&Refusal::new(code, error.to_string())));
            }
        }
        Ok(Admitted { from, record, turn })
    }

    fn watched(&self, admitted: &Admitted) -> Watched {
        let views = self.identities.watch(admitted.record.selectors());
        Watched { views, peer: Arc::clone(&admitted.from.peer), host: self.host.clone() }
    }

    async fn stream<T, C: Compose>(
        &self,
        request: Request<T>,
        call: &'static str,
    ) -> Result<Response<Updates<C>>, Status> {
        let admitted = self.admit(&request, call, |_| Ok(())).await?;
        let watched = self.watched(&admitted);
        Ok(Response::new(Updates::new(watched, admitted.record)))
    }

    async fn jwt_svids(
        &self,
        admitted: &Admitted,
        audience: &[String],
        only: Option<&SpiffeId>,
    ) -> Result<Vec<JwtSvid>, Refusal> {
        let Admitted { from, record, .. } = admitted;
        // Waits while registrations are not known yet.
        self.watched(admitted).now().await?;
        let svids = self.identities.jwt(record.selectors(), audience, only);
        let svids = timeout(PATIENCE, svids).await;
        let svids =
            svids.unwrap_or_else(|_| Err(JwtError::Unavailable("the authority does not answer".to_owned())));
        let svids = svids.map_err(|error| match error {
            JwtError::NoIdentity => Refusal::new(Code::PermissionDenied, error.to_string()),
            _ => Refusal::new(Code::Unavailable, error.to_string()),
        })?;
        if svids.is_empty() {
            return Err(Refusal::new(Code::PermissionDenied, JwtError::NoIdentity.to_string()));
        }
        // The authority may have taken its time.
        from.peer
            .check(&self.host)
            .map_err(|error| Refusal::new(Code::PermissionDenied, error.to_string()))?;
        Ok(svids)
    }
}

fn check_audience(audience: &[String]) -> Result<(), Refusal> {
    let refusal = |text: &str| Err(Refusal::new(Code::InvalidArgument, text));
    match audience {
        [] => refusal("audience must be specified"),
        _ if audience.len() > MOST_AUDIENCES => refusal("too many audiences"),
        _ if audience.iter().any(String::is_empty) => refusal("an audience must not be empty"),
        _ => Ok(()),
    }
}

fn check_id(text: &str) -> Result<Option<SpiffeId>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let refusal =
        |error| Refusal::new(Code::InvalidArgument, format!("invalid requested SPIFFE ID: {error}"));
    text.parse().map(Some).map_err(refusal)
}

/// Seconds since 1970.
fn now() -> UnixSeconds {
    #[expect(clippy::disallowed_methods, reason = "tokens expire by the clock of the world")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixSeconds::try_from(since.as_secs()).unwrap_or(UnixSeconds::MAX)
}

/// `FetchX509SVID`.
pub(crate) struct X509Svids;
/// `FetchX509Bundles`.
pub(crate) struct X509Bundles;
/// `FetchJWTBundles`.
pub(crate) struct JwtBundles;

impl Compose for X509Svids {
    type Message = api::X509svidResponse;

    fn compose(view: &View) -> (Self::Message, Vec<SpiffeId>) {
        messages::x509_svids(view)
    }

    fn is_same(old: &View, new: &View) -> bool {
        old.svids == new.svids && X509Bundles::is_same(old, new)
    }
}

impl Compose for X509Bundles {
    type Message = api::X509BundlesResponse;

    fn compose(view: &View) -> (Self::Message, Vec<SpiffeId>) {
        (messages::x509_bundles(view), Vec::new())
    }

    fn is_same(old: &View, new: &View) -> bool {
        let authorities = |view: &View| -> Vec<_> {
            view.bundles().map(|(domain, bundle)| (domain.clone(), bundle.x509_authorities.clone())).collect()
        };
        authorities(old) == authorities(new)
    }
}

impl Compose for JwtBundles {
    type Message = api::JwtBundlesResponse;

    fn compose(view: &View) -> (Self::Message, Vec<SpiffeId>) {
        (messages::jwt_bundles(view), Vec::new())
    }

    fn is_same(old: &View, new: &View) -> bool {
        old.bundles()
            .map(|(domain, bundle)| (domain, &bundle.jwt_authorities))
            .eq(new.bundles().map(|(domain, bundle)| (domain, &bundle.jwt_authorities)))
    }
}

#[tonic::async_trait]
impl<I: Identities> SpiffeWorkloadApi for Service<I> {
    type FetchX509SVIDStream = Updates<X509Svids>;
    type FetchX509BundlesStream = Updates<X509Bundles>;
    type FetchJWTBundlesStream = Updates<JwtBundles>;

    async fn fetch_x509svid(
        &self,
        request: Request<api::X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        self.stream(request, "FetchX509SVID").await
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<api::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.stream(request, "FetchX509Bundles").await
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<api::JwtsvidRequest>,
    ) -> Result<Response<api::JwtsvidResponse>, Status> {
        let check = |it: &api::JwtsvidRequest| {
            check_audience(&it.audience)?;
            check_id(&it.spiffe_id).map(drop)
        };
        let admitted = self.admit(&request, "FetchJWTSVID", check).await?;
        let api::JwtsvidRequest { audience, spiffe_id } = request.into_inner();
        let refused = |refusal: Refusal| admitted.record.refused(&refusal);
        let only = check_id(&spiffe_id).map_err(refused)?;
        let svids = self.jwt_svids(&admitted, &audience, only.as_ref()).await.map_err(refused)?;
        let (response, ids) = messages::jwt_svids(svids);
        admitted.record.served(&ids);
        drop(admitted.turn);
        Ok(Response::new(response))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<api::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.stream(request, "FetchJWTBundles").await
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<api::ValidateJwtsvidRequest>,
    ) -> Result<Response<api::ValidateJwtsvidResponse>, Status> {
        let check = |it: &api::ValidateJwtsvidRequest| {
            let refusal = |text: &str| Err(Refusal::new(Code::InvalidArgument, text));
            match () {
                () if it.audience.is_empty() => refusal("audience must be specified"),
                () if it.svid.is_empty() => refusal("svid must be specified"),
                () => Ok(()),
            }
        };
        let admitted = self.admit(&request, "ValidateJWTSVID", check).await?;
        let view = self.watched(&admitted).now().await;
        let view = view.map_err(|refusal| admitted.record.refused(&refusal))?;
        let api::ValidateJwtsvidRequest { audience, svid } = request.into_inner();
        let verified = JwtSvid::verify(&svid, &audience, |domain| view.bundle_of(domain), now());
        let (svid, claims) = verified.map_err(|error| {
            admitted.record.refused(&Refusal::new(Code::InvalidArgument, error.to_string()))
        })?;
        admitted.record.served(&[]);
        Ok(Response::new(messages::validated(&svid, claims, &view.bundle.trust_domain)))
    }
}
