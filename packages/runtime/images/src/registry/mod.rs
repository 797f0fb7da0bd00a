//! The pulling half of OCI's distribution specification 1.1: which endpoints answer for a registry, in which order they are
//! asked, and what their answers mean. Nothing that comes back is trusted before its digest was compared.

mod auth;
mod connect;
mod error;
mod exchange;
mod tls;
mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use http::header;

pub(crate) use connect::Answer;
pub use error::RegistryError;
use tls::{Tls, Trust};
use url::{Origin, Url};

use crate::config::{Config, Endpoint, Limits, Proxies};
use crate::digest::Digest;
use crate::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::record::Credentials;
use crate::reference::{DEFAULT_HOST, Reference};

/// Where the default registry of references answers.
const DEFAULT_ENDPOINT: &str = "registry-1.docker.io";

/// Everything about registries that is the same for all pulls.
#[derive(Debug)]
pub(crate) struct Client {
    limits: Limits,
    proxies: Proxies,
    registries: BTreeMap<String, (Vec<Endpoint>, bool)>,
    tls: Tls,
    trusts: BTreeMap<Origin, Trust>,
}

/// One place to ask.
#[derive(Debug, Clone)]
struct Place {
    url: Url,
    credentials: Option<Credentials>,
    /// A mirror is told whose content is wanted.
    namespace: Option<String>,
}

/// One pull from one repository.
pub(crate) struct Session {
    client: Arc<Client>,
    path: String,
    places: Vec<Place>,
    /// Places that did not answer; they are not asked again in this pull.
    silent: Mutex<BTreeSet<usize>>,
    /// Values of `Authorization` by place.
    authorizations: Mutex<BTreeMap<usize, String>>,
    pool: connect::Pool,
}

/// A manifest or index, not yet parsed.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    pub(crate) content_type: String,
    pub(crate) bytes: Vec<u8>,
}

/// What a request is for.
struct Wanted<'a> {
    method: http::Method,
    path: String,
    accept: &'a str,
    from: u64,
}

impl Client {
    /// Checks the settings.
    pub(crate) fn new(config: &Config) -> Result<Self, RegistryError> {
        let mut trusts = BTreeMap::new();
        let mut registries = BTreeMap::new();
        for registry in &config.registries {
            for endpoint in &registry.endpoints {
                let url = endpoint_url(&endpoint.url)?;
                let trust = match (&endpoint.ca_file, endpoint.skip_verify) {
                    (_, true) => Trust::Anyone,
                    (Some(file), _) => Trust::File(file.clone()),
                    (None, _) => continue,
                };
                if url.origin.is_tls {
                    trusts.insert(url.origin, trust);
                }
            }
            registries.insert(registry.host.clone(), (registry.endpoints.clone(), registry.only_endpoints));
        }
        let tls = Tls::new(config.ca_files.clone());
        Ok(Self { limits: config.limits.clone(), proxies: config.proxies.clone(), registries, tls, trusts })
    }

    /// Begins a pull.
    pub(crate) fn session(
        self: &Arc<Self>,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Session, RegistryError> {
        let host = reference.host();
        let real = if host == DEFAULT_HOST { DEFAULT_ENDPOINT } else { host };
        let own = endpoint_url(&format!("https://{real}"))?;
        let (endpoints, is_only) = self.registries.get(host).cloned().unwrap_or_default();
        let mut places = Vec::new();
        let mut has_own = is_only;
        for endpoint in &endpoints {
            let url = endpoint_url(&endpoint.url)?;
            let is_own = url.origin.with_port() == own.origin.with_port()
                || url.origin.authority() == own.origin.authority();
            has_own |= is_own;
            let known = match &endpoint.credentials {
                Some((username, password)) => Some(Credentials {
                    username: username.clone(),
                    password: password.clone(),
                    ..Credentials::default()
                }),
                None if is_own || endpoint.gets_credentials => credentials.cloned(),
                None => None,
            };
            let namespace = (!is_own).then(|| host.to_owned());
            places.push(Place { url, credentials: known, namespace });
        }
        if !has_own {
            places.push(Place { url: own, credentials: credentials.cloned(), namespace: None });
        }
        if places.is_empty() {
            let why = format!(
                "registry {host:?} may be asked at its endpoints alone, and none of them is usable; see the errors of the settings"
            );
            return Err(RegistryError::Setting { why });
        }
        let authorizations = places.iter().enumerate().filter_map(|(index, place)| {
            let token = &place.credentials.as_ref()?.registry_token;
            (!token.is_empty()).then(|| (index, format!("Bearer {token}")))
        });
        Ok(Session {
            client: self.clone(),
            path: reference.path().to_owned(),
            authorizations: Mutex::new(authorizations.collect()),
            places,
            silent: Mutex::default(),
            pool: connect::Pool::default(),
        })
    }
}

/// `http[s]://HOST[:PORT][/PREFIX]`.
fn endpoint_url(text: &str) -> Result<Url, RegistryError> {
    let url = Url::parse(text).filter(|url| !url.path.contains(['?', '#']));
    let mut url = url.ok_or_else(|| RegistryError::Setting {
        why: format!(
            "{:?} is not of the form http[s]://HOST[:PORT][/PREFIX]",
            crate::digest::shortened(text)
        ),
    })?;
    url.path.truncate(url.path.trim_end_matches('/').len());
    Ok(url)
}

impl Session {
    /// The manifest or index that a reference names now. `known` gives the bytes of a digest that is here already.
    pub(crate) async fn manifest(
        &self,
        reference: &Reference,
        known: impl Fn(Digest) -> Option<Vec<u8>>,
    ) -> Result<Fetched, RegistryError> {
        if let Some(digest) = reference.digest() {
            return self.manifest_by_digest(digest, known).await;
        }
        let tag = reference.tag().unwrap_or("latest");
        // Asking for the digest alone is enough when nothing is new, and registries count it less.
        if let Ok(mut answer) = self.ask(&self.wanted_manifest(http::Method::HEAD, tag)).await
            && answer.whole(0).await.is_ok()
            && let Some(digest) = stated_digest(&answer)
            && let Some(bytes) = known(digest)
        {
            let content_type = answer.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
            return Ok(Fetched { digest, content_type, bytes });
        }
        self.fetch_manifest(tag, None).await
    }

    /// The manifest or index of a digest.
    pub(crate) async fn manifest_by_digest(
        &self,
        digest: Digest,
        known: impl Fn(Digest) -> Option<Vec<u8>>,
    ) -> Result<Fetched, RegistryError> {
        match known(digest) {
            Some(bytes) => Ok(Fetched { digest, content_type: String::new(), bytes }),
            None => self.fetch_manifest(&digest.to_string(), Some(digest)).await,
        }
    }

    async fn fetch_manifest(&self, name: &str, wanted: Option<Digest>) -> Result<Fetched, RegistryError> {
        let mut answer = self.ask(&self.wanted_manifest(http::Method::GET, name)).await?;
        let content_type = answer.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let wanted = wanted.or(stated_digest(&answer));
        let bytes = answer.whole(self.client.limits.manifest).await?;
        let digest = Digest::of(&bytes);
        match wanted {
            Some(wanted) if wanted != digest => Err(RegistryError::OtherManifest {
                host: answer.url.origin.authority(),
                wanted,
                found: digest,
            }),
            _ => Ok(Fetched { digest, content_type, bytes }),
        }
    }

    fn wanted_manifest(&self, method: http::Method, name: &str) -> Wanted<'static> {
        const ACCEPT: &[&str] = &[OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
        static JOINED: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| ACCEPT.join(", "));
        Wanted { method, path: format!("/v2/{}/manifests/{name}", self.path), accept: &JOINED, from: 0 }
    }

    /// A blob from some byte on. Says which byte the answer begins with: that one, or 0.
    pub(crate) async fn blob(
        &self,
        digest: Digest,
        size: u64,
        from: u64,
    ) -> Result<(u64, Answer), RegistryError> {
        let path = format!("/v2/{}/blobs/{digest}", self.path);
        let wanted = Wanted { method: http::Method::GET, path: path.clone(), accept: "*/*", from };
        let answer = match self.ask(&wanted).await {
            Err(RegistryError::Status { status: 416, .. }) => {
                self.ask(&Wanted { method: http::Method::GET, path, accept: "*/*", from: 0 }).await?
            }
            answer => answer?,
        };
        let host = || answer.url.origin.authority();
        if answer.head.status == http::StatusCode::PARTIAL_CONTENT {
            let range = answer.header(header::CONTENT_RANGE).unwrap_or_default();
            return if range == format!("bytes {from}-{}/{size}", size.saturating_sub(1)) {
                Ok((from, answer))
            } else {
                Err(RegistryError::Range { host: host(), found: crate::digest::shortened(range) })
            };
        }
        let length = answer.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        match length {
            Some(found) if found != size => {
                Err(RegistryError::BlobSize { host: host(), digest, wanted: size, found })
            }
            _ => Ok((0, answer)),
        }
    }

    /// Asks one place after the other. The last one's refusal is the answer, because it is the registry itself.
    async fn ask(&self, wanted: &Wanted<'_>) -> Result<Answer, RegistryError> {
        let last = self.places.len() - 1;
        let mut refusal = None;
        for (index, place) in self.places.iter().enumerate() {
            let is_silent =
                self.silent.lock().expect("nothing panics while it holds the lock").contains(&index);
            if is_silent && index != last {
                continue;
            }
            match self.ask_place(index, place, wanted, index == last).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    if index != last {
                        eprintln!(
                            "images: {} instead of {}: {error}",
                            place.url,
                            place.namespace.as_deref().unwrap_or("itself")
                        );
                    }
                    if error.is_passing() {
                        self.silent.lock().expect("nothing panics while it holds the lock").insert(index);
                    }
                    refusal = Some(error);
                }
            }
        }
        Err(refusal.expect("the last place is always asked"))
    }
}

/// What the registry says that the digest is; one that is no digest says nothing.
fn stated_digest(answer: &Answer) -> Option<Digest> {
    answer.header(http::HeaderName::from_static("docker-content-digest"))?.parse().ok()
}
