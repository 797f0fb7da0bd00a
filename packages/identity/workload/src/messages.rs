//! Views as messages of the Workload API.

use std::collections::{BTreeMap, BTreeSet};

use lepton_spiffe::{Bundle, JwtSvid, SpiffeId, TrustDomain};
use lepton_spiffe_api::workload as api;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::Map;

use crate::View;

/// Claims of tokens of other trust domains that are passed on, as SPIRE does it: what others mean by the rest is not known
/// here.
const FOREIGN_CLAIMS: [&str; 3] = ["sub", "exp", "aud"];

/// The X.509-SVIDs of a view, with what verifies others. No revocation list: SPIFFE has none that is used.
pub(crate) fn x509_svids(view: &View) -> (api::X509svidResponse, Vec<SpiffeId>) {
    let bundle = view.bundle.x509_der();
    let mut hints = BTreeSet::new();
    let svids: Vec<_> = view.svids.iter().filter(|svid| is_first(&mut hints, &svid.hint)).collect();
    let ids = svids.iter().map(|svid| svid.id.clone()).collect();
    let svids = svids.into_iter().map(|svid| api::X509svid {
        spiffe_id: svid.id.to_string(),
        x509_svid: svid.chain_der(),
        x509_svid_key: svid.key.as_der().to_vec(),
        bundle: bundle.clone(),
        hint: svid.hint.clone(),
    });
    let federated = view.federated.iter().map(|(domain, bundle)| (name(domain), bundle.x509_der())).collect();
    let response =
        api::X509svidResponse { svids: svids.collect(), crl: Vec::new(), federated_bundles: federated };
    (response, ids)
}

/// The X.509 bundles of a view.
pub(crate) fn x509_bundles(view: &View) -> api::X509BundlesResponse {
    api::X509BundlesResponse { crl: Vec::new(), bundles: bundles(view, Bundle::x509_der) }
}

/// The JWT bundles of a view.
pub(crate) fn jwt_bundles(view: &View) -> api::JwtBundlesResponse {
    api::JwtBundlesResponse { bundles: bundles(view, |bundle| bundle.to_jwt_jwks().into_bytes()) }
}

fn bundles(view: &View, bytes: impl Fn(&Bundle) -> Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    // The host's own comes last: nobody else's stands for it.
    view.bundles().map(|(domain, bundle)| (name(domain), bytes(bundle))).collect()
}

/// JWT-SVIDs.
pub(crate) fn jwt_svids(svids: Vec<JwtSvid>) -> (api::JwtsvidResponse, Vec<SpiffeId>) {
    let mut hints = BTreeSet::new();
    let mut ids = Vec::new();
    let mut messages = Vec::new();
    for svid in svids {
        if is_first(&mut hints, &svid.hint) {
            messages.push(api::Jwtsvid {
                spiffe_id: svid.id.to_string(),
                svid: svid.token.expose().to_owned(),
                hint: svid.hint.clone(),
            });
            ids.push(svid.id);
        }
    }
    (api::JwtsvidResponse { svids: messages }, ids)
}

/// Who a token that is good belongs to, and its claims.
pub(crate) fn validated(
    svid: &JwtSvid,
    claims: Map<String, serde_json::Value>,
    own: &TrustDomain,
) -> api::ValidateJwtsvidResponse {
    let is_own = svid.id.trust_domain() == own;
    let known = claims.into_iter().filter(|(name, _)| is_own || FOREIGN_CLAIMS.contains(&&**name));
    let mut fields: BTreeMap<String, Value> = known.map(|(name, value)| (name, to_value(value))).collect();
    // A token for one may say so without a list; SPIRE always answers with a list.
    let audience = svid.audience.iter().map(|one| kind(Kind::StringValue(one.clone()))).collect();
    fields.insert("aud".to_owned(), kind(Kind::ListValue(ListValue { values: audience })));
    api::ValidateJwtsvidResponse { spiffe_id: svid.id.to_string(), claims: Some(Struct { fields }) }
}

fn to_value(value: serde_json::Value) -> Value {
    kind(match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(is) => Kind::BoolValue(is),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(values) => {
            Kind::ListValue(ListValue { values: values.into_iter().map(to_value).collect() })
        }
        serde_json::Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(name, value)| (name, to_value(value))).collect(),
        }),
    })
}

fn kind(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

/// A hint is one identity's: the first that has it (SPIFFE Workload API section 5.3).
fn is_first(seen: &mut BTreeSet<String>, hint: &str) -> bool {
    hint.is_empty() || seen.insert(hint.to_owned())
}

fn name(domain: &TrustDomain) -> String {
    SpiffeId::of(domain.clone()).to_string()
}
