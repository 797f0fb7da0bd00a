//! Pulls over CRI through the proxies of the machine config, and none around them.

use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;
use tonic::Code;

use crate::Scenario;
use crate::content::{Content, layer};
use crate::host::Host;
use crate::proxy::HttpProxy;

pub(crate) const ALL: &[Scenario] = &[("pulls_go_through_the_proxy", proxied)];

/// `robot:s cret`.
const BASIC: &str = "Basic cm9ib3Q6cyBjcmV0";

fn proxied(tokio: &Runtime, host: &mut Host) {
    let mut content = Content::default();
    content.add_image("v1", &[layer(&[("a", "b")])]);
    let registry = content.serve();
    let port = registry.host().rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = HttpProxy::start(&[("registry.example", port), ("direct.example", port)], BASIC);
    let config = |password: &str| {
        let place = proxy.host();
        format!(
            "[[registries]]\nhost = 'registry.example'\nendpoints = [{{ url = 'http://registry.example' }}]\n\
             [[registries]]\nhost = 'direct.example'\nonly-endpoints = true\nendpoints = [{{ url = 'http://a.direct.example' }}]\n\
             [[registries]]\nhost = 'closed.example'\nonly-endpoints = true\nendpoints = [{{ url = 'closed.example' }}]\n\
             [proxy]\nhttp = 'http://robot:{password}@{place}'\nhttps = 'http://robot:{password}@{place}'\n\
             no-proxy = ['.direct.example', '192.0.2.0/24']\n"
        )
    };
    let path = host.path("proxied.toml");
    let old = host.options.clone();
    host.options.extend(["--machine-config".to_owned(), path.display().to_string()]);
    let pull = |host: &Host, name: &str| {
        tokio.block_on(async {
            let image = cri::ImageSpec { image: name.to_owned(), ..cri::ImageSpec::default() };
            let request = cri::PullImageRequest { image: Some(image), ..cri::PullImageRequest::default() };
            host.images().await.pull_image(request).await.map(drop)
        })
    };
    let restart = |host: &mut Host, text: &str| {
        std::fs::write(&path, text).unwrap();
        host.kill();
        host.start();
    };
    restart(host, &config("s%20cret"));
    pull(host, "registry.example/tool:v1").unwrap();
    let asked = proxy.asked();
    assert!(asked.len() >= 3, "{asked:?}");
    for line in &asked {
        assert!(line.contains(" http://registry.example/v2/tool/") && line.starts_with("200 "), "{line}");
    }
    // No name leads anywhere here but at the proxy, so what is asked directly fails, and the proxy hears nothing of it.
    let direct = pull(host, "direct.example/tool:v1").unwrap_err();
    assert!(direct.message().contains("cannot connect to a.direct.example:80"), "{direct}");
    let network = pull(host, "192.0.2.7:5000/tool:v1").unwrap_err();
    assert!(network.message().contains("cannot connect to 192.0.2.7:5000"), "{network}");
    // None of its endpoints is right, and nothing else may be asked.
    let closed = pull(host, "closed.example/tool:v1").unwrap_err();
    assert_eq!(closed.code(), Code::InvalidArgument, "{closed}");
    assert!(closed.message().contains("none of them is usable"), "{closed}");
    assert_eq!(proxy.asked(), asked);
    // HTTPS asks for a tunnel, which leads nowhere for this name.
    let tunnel = pull(host, "secure.example/tool:v1").unwrap_err();
    assert!(tunnel.message().contains("it does not connect to secure.example:443"), "{tunnel}");
    assert!(proxy.asked().contains(&"502 CONNECT secure.example:443 HTTP/1.1".to_owned()));
    restart(host, &config("wrong"));
    let refused = pull(host, "registry.example/other:v1").unwrap_err();
    assert!(refused.message().contains("407") && !refused.message().contains("wrong"), "{refused}");
    for secret in ["s%20cret", "s cret", "robot:wrong"] {
        assert!(!host.log().contains(secret), "{}", host.log());
    }
    host.options = old;
    host.kill();
    host.start();
}
