//! The service as a program: with certificates of its own, a PID 1 and a Workload API that say what a test wants, and callers
//! of every kind.
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

#[path = "service/authority.rs"]
#[expect(dead_code, reason = "judges use the rest")]
mod authority;
#[path = "service/bundle.rs"]
mod bundle;
#[path = "service/client.rs"]
mod client;
#[path = "service/containers.rs"]
mod containers;
#[path = "service/host.rs"]
mod host;
#[path = "service/methods.rs"]
mod methods;
#[path = "service/pid1.rs"]
mod pid1;
#[path = "service/runtime.rs"]
mod runtime;
#[path = "service/workload.rs"]
mod workload;

use std::time::Duration;

use lepton_control::{Request as Ask, ServiceState};
use lepton_host_api::roles::{METHODS, Role};
use lepton_host_api::v1 as api;
use lepton_host_api::v1::logs_request::Source;
use tonic::{Code, Request};

use authority::{Authority, DOMAIN, now};
use client::{Client, handshake};
use host::{Host, eventually};
use methods::{call, expected};

fn id(role: &str) -> String {
    format!("spiffe://{DOMAIN}/role/{role}")
}

#[tokio::test]
async fn every_method_for_every_caller() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let hosts = host.hosts.clone();
    let other = Authority::new();
    let connect = |certified| Client::connect(host.address, &hosts, certified);

    let unknown = connect(Some(other.client(&id("admin")))).await;
    let nobody = connect(None).await;
    let foreign = connect(Some(operators.client("spiffe://example.net/role/admin"))).await;
    let expired = connect(Some(operators.issue(&id("admin"), now() - 7200, now() - 60))).await;
    let roleless = connect(Some(operators.client(&format!("spiffe://{DOMAIN}/host/1")))).await;
    let known: Vec<(Role, Client)> = {
        let mut known = Vec::new();
        for role in Role::ALL {
            known.push((role, connect(Some(operators.client(&id(role.name())))).await));
        }
        known
    };
    for method in &METHODS {
        let name = method.name;
        // TLS has failed: there is no call that could have a status of ours.
        for client in [&nobody, &unknown] {
            let status = call(client, name).await.unwrap_err();
            assert!(
                matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled),
                "{name}: {status}"
            );
        }
        for (client, code, text) in [
            (&foreign, Code::Unauthenticated, "is not of the trust domain example.org"),
            (&expired, Code::Unauthenticated, "has expired"),
            (&roleless, Code::PermissionDenied, "has no role here"),
        ] {
            let status = call(client, name).await.unwrap_err();
            assert_eq!(status.code(), code, "{name}: {status}");
            assert!(status.message().contains(text), "{name}: {status}");
        }
        for (role, client) in &known {
            let result = call(client, name).await;
            if *role < method.role {
                let status = result.unwrap_err();
                assert_eq!(status.code(), Code::PermissionDenied, "{name} {role}: {status}");
                let text = format!("{name} needs the role {}", method.role);
                assert!(status.message().contains(&text), "{name} {role}: {status}");
            } else {
                let code = result.map_or_else(|status| status.code(), |()| Code::Ok);
                assert_eq!(code, expected(name), "{name} {role}");
            }
        }
    }
    // Each change is recorded, and each refusal.
    let records = eventually(|| {
        let records = host.audit();
        records.iter().any(|it| it["method"] == "SupportBundle" && it["audit"] == "call").then_some(records)
    })
    .await;
    let has = |act: &str, method: &str, caller: &str, result: &str| {
        records.iter().any(|it| {
            it["audit"] == act && it["method"] == method && it["caller"] == caller && it["result"] == result
        })
    };
    assert!(has("call", "ApplyConfig", &id("admin"), "ok"));
    assert!(has("call", "Reboot", &id("operator"), "ok"));
    assert!(has("call", "Exec", &id("admin"), "UNAVAILABLE"));
    assert!(has("refuse", "Reset", &id("operator"), "PERMISSION_DENIED"));
    assert!(has("refuse", "Status", &id("admin"), "UNAUTHENTICATED"));
    let handshakes: Vec<_> = records.iter().filter(|it| it["result"] == "handshake").collect();
    let failed =
        |text: &str| handshakes.iter().any(|it| it["reason"].as_str().is_some_and(|why| why.contains(text)));
    assert!(failed("no client certificate") && failed("unknown authority"), "{handshakes:?}");
    let text = host.log().join("\n");
    assert!(!text.contains("hunter2"), "a secret of a machine config was recorded");
    let asked = host.pid1.asked();
    assert!(asked.contains(&Ask::Reboot) && asked.contains(&Ask::Stop { name: "web".into() }));
}

#[tokio::test]
async fn handshakes_fail_with_the_alerts_of_the_rfc() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let other = Authority::new();
    assert_eq!(handshake(&host, None).await, Err("CertificateRequired".to_owned()));
    assert_eq!(handshake(&host, Some(other.client(&id("admin")))).await, Err("UnknownCA".to_owned()));
    let no_id = operators.client("https://example.org/role/admin");
    assert_eq!(handshake(&host, Some(no_id)).await, Err("BadCertificate".to_owned()));
    assert_eq!(handshake(&host, Some(operators.client(&id("reader")))).await, Ok(()));
    assert_eq!(
        client::handshake_with_tls12(&host, operators.client(&id("admin"))).await,
        Err("ProtocolVersion".to_owned())
    );
}

#[tokio::test]
async fn rotation_keeps_streams_and_a_ca_that_is_taken_away_ends_access() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id("operator")))).await;
    let events = client.host().events(api::EventsRequest::default()).await.unwrap();
    let mut events = events.into_inner();
    let first = events.message().await.unwrap().unwrap();
    assert_eq!(first.changes.len(), 2);

    // Another certificate of the host: new handshakes have it.
    let before = client::serial(&host, operators.client(&id("reader"))).await;
    host.rotate();
    eventually(|| host.log().iter().filter(|line| line.starts_with("the host is ")).nth(1).cloned()).await;
    let after = client::serial(&host, operators.client(&id("reader"))).await;
    assert_ne!(before, after);
    host.pid1.set_state("web", ServiceState::Failed);
    let next = events.message().await.unwrap().unwrap();
    assert_eq!(next.changes[0].service.as_ref().unwrap().state(), api::ServiceState::Failed);

    // A second authority is added: both are believed.
    let second = Authority::new();
    host.believe(&[&operators, &second]);
    let newer = second.client(&id("reader"));
    eventually_connects(&host, newer).await;
    assert!(call(&client, "Version").await.is_ok());
    host.pid1.set_state("web", ServiceState::Ready);
    let next = events.message().await.unwrap().unwrap();
    assert_eq!(next.changes[0].service.as_ref().unwrap().state(), api::ServiceState::Ready);

    // The first one is taken away: the open connection is refused with its next call.
    host.believe(&[&second]);
    let mut code = Code::Ok;
    for _ in 0..100 {
        code = call(&client, "Version").await.map_or_else(|status| status.code(), |()| Code::Ok);
        if code != Code::Ok {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(code, Code::Unauthenticated);
    // So is the stream that was open.
    assert_eq!(events.message().await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(handshake(&host, Some(operators.client(&id("operator")))).await, Err("UnknownCA".to_owned()));
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_it_was_asked_with() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let brief = operators.issue(&id("reader"), now() - 60, now() + 3);
    let client = Client::connect(host.address, &host.hosts, Some(brief)).await;
    let mut events = client.host().events(api::EventsRequest::default()).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    let ended = events.message().await.unwrap_err();
    assert_eq!((ended.code(), ended.message().contains("has expired")), (Code::Unauthenticated, true));
}

async fn eventually_connects(host: &Host, certified: authority::Certified) {
    for _ in 0..100 {
        let client = Client::connect(host.address, &host.hosts, Some(certified.clone())).await;
        if call(&client, "Version").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the new authority is not believed");
}

#[tokio::test]
async fn the_local_socket_is_roots() {
    use std::os::unix::fs::PermissionsExt as _;
    let host = Host::start(&Authority::new()).await;
    let mode = std::fs::metadata(host.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = Client::local(&host.socket()).await;
    let version = client.host().version(api::VersionRequest {}).await.unwrap().into_inner();
    assert_eq!(version.role(), api::Role::Admin);
    assert_eq!(version.caller, format!("uid:{}", rustix::process::geteuid().as_raw()));
    for method in &METHODS {
        let code = call(&client, method.name).await.map_or_else(|status| status.code(), |()| Code::Ok);
        assert_eq!(code, expected(method.name), "{}", method.name);
    }
}

#[tokio::test]
async fn nothing_listens_for_nobody() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    host.configure(&format!("[host]\nlisten = ['{}']\n", host.address));
    eventually(|| host.log().iter().any(|line| line.contains("no longer listening")).then_some(())).await;
    assert!(std::net::TcpStream::connect(host.address).is_err());
    assert!(host.log().iter().any(|line| line.contains("nobody to believe")), "{:?}", host.log());
}

#[tokio::test]
async fn deadlines_and_limits() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id("admin")))).await;
    // A stream that goes on for ever ends with its deadline, by the host.
    let mut request = Request::new(api::EventsRequest::default());
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let mut events = client.host().events(request).await.unwrap().into_inner();
    events.message().await.unwrap().unwrap();
    assert_eq!(events.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    // PID 1 that is slow.
    host.pid1.set_delay(Duration::from_secs(2));
    let mut request = Request::new(api::StatusRequest {});
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    // The client looks at its clock, too, and says so in another way.
    let code = client.host().status(request).await.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code}");
    host.pid1.set_delay(Duration::ZERO);
    let big = |bytes: usize| api::CheckConfigRequest { text: "#".repeat(bytes) };
    let status = client.host().check_config(big(5 << 20)).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status}");
    let status = client.host().check_config(big(200 << 10)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = client.host().top(api::TopRequest { interval_ms: 1, count: 1 }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    // A method that nobody has.
    let status = client.unknown_method().await;
    assert_eq!(status.code(), Code::Unimplemented);
    // More connections than there are places: the ones that are left out see their connection close. Admins have their own.
    let mut clients = Vec::new();
    for _ in 0..48 {
        let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id("reader")))).await;
        call(&client, "Version").await.unwrap();
        clients.push(client);
    }
    let late = Client::connect(host.address, &host.hosts, Some(operators.client(&id("reader")))).await;
    assert!(call(&late, "Version").await.is_err());
    let admin = Client::connect(host.address, &host.hosts, Some(operators.client(&id("admin")))).await;
    assert!(call(&admin, "Version").await.is_ok());
    clients.pop();
    eventually_connects(&host, operators.client(&id("reader"))).await;
}

#[tokio::test]
async fn secrets_are_for_admins_who_ask() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let get = |role: &'static str, secrets| {
        let (operators, host) = (&operators, &host);
        async move {
            let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id(role)))).await;
            client.host().get_config(api::GetConfigRequest { secrets }).await.map(tonic::Response::into_inner)
        }
    };
    for role in ["reader", "operator", "admin"] {
        let config = get(role, false).await.unwrap();
        assert!(
            config.effective.contains("(secret)") && !config.effective.contains("hunter2"),
            "{}",
            config.effective
        );
        assert!(!config.applied.unwrap().contains("hunter2"));
        assert_eq!(config.revision, "r-1");
    }
    assert_eq!(get("operator", true).await.unwrap_err().code(), Code::PermissionDenied);
    assert!(get("admin", true).await.unwrap().effective.contains("hunter2"));
    // The answer may be here before its record was read.
    let is_it = |it: &serde_json::Value| it["method"] == "GetConfig" && it["result"] == "ok";
    eventually(|| host.audit().iter().any(is_it).then_some(())).await;
}

#[tokio::test]
async fn conflicts_trials_and_mistakes_of_configs() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id("admin")))).await;
    let apply = |text: &str, revision: &str, try_s| {
        let request =
            api::ApplyConfigRequest { text: text.into(), expected_revision: revision.into(), try_s };
        let mut client = client.host();
        async move { client.apply_config(request).await.map(tonic::Response::into_inner) }
    };
    assert_eq!(apply("hostname = 'a'", "old", None).await.unwrap_err().code(), Code::Aborted);
    assert_eq!(apply("hostname = 'a'", "r-1", Some(0)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(apply("hostnam = 'hunter2'", "r-1", None).await.unwrap_err().code(), Code::InvalidArgument);
    let applied = apply("hostname = 'a'", "r-1", Some(60)).await.unwrap();
    assert_eq!(applied.differences[0].effect(), api::ConfigEffect::Overridden);
    assert_eq!(applied.differences[0].overridden_by, "cmdline");
    let confirm = |id: &str| {
        let (mut client, request) = (client.host(), api::ConfirmConfigRequest { id: id.into() });
        async move { client.confirm_config(request).await.map_or_else(|status| status.code(), |_| Code::Ok) }
    };
    assert_eq!(confirm("other").await, Code::NotFound);
    assert_eq!(confirm(&applied.trial.unwrap().id).await, Code::Ok);
    assert!(!host.log().join("\n").contains("hunter2"));
}

#[tokio::test]
async fn metrics_are_for_readers() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let reader = client::get(&host, operators.client(&id("reader")), "/metrics").await;
    assert!(reader.starts_with("HTTP/1.1 200 OK\r\n"), "{reader}");
    assert!(reader.contains("\nlepton_collector_success{"), "{reader}");
    let roleless = client::get(&host, operators.client("spiffe://example.org/host/1"), "/metrics").await;
    assert!(roleless.starts_with("HTTP/1.1 403 "), "{roleless}");
    let expired = operators.issue(&id("reader"), now() - 7200, now() - 60);
    let expired = client::get(&host, expired, "/metrics").await;
    assert!(expired.starts_with("HTTP/1.1 401 "), "{expired}");
}

#[tokio::test]
async fn a_log_goes_on_where_its_reader_was() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id("reader")))).await;
    let read = |after: Option<api::LogPlace>| {
        let (mut client, source) = (client.host(), Some(Source::Service("web".into())));
        async move {
            let request = api::LogsRequest { source, after, ..Default::default() };
            let mut stream = client.logs(request).await.unwrap().into_inner();
            let (mut texts, mut place) = (Vec::new(), None);
            while let Some(answer) = stream.message().await.unwrap() {
                for line in answer.lines {
                    let number = line.number.unwrap();
                    place = Some(api::LogPlace { boot_id: answer.boot_id.clone(), number });
                    texts.push(format!("{number} {}", line.text));
                }
            }
            (texts, place)
        }
    };
    let (all, last) = read(None).await;
    assert_eq!(all, ["0 one", "1 two"]);
    let last = last.unwrap();
    assert_eq!(last.boot_id, std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
    let first = api::LogPlace { number: 0, ..last.clone() };
    assert_eq!(read(Some(first)).await.0, ["1 two"]);
    assert!(read(Some(last)).await.0.is_empty());
    // The host has started again since then.
    let other = api::LogPlace { boot_id: "other".into(), number: 1 };
    assert_eq!(read(Some(other)).await.0, ["0 one", "1 two"]);
    // Messages of the kernel, too.
    let after = Some(api::LogPlace { number: 0, ..read(None).await.1.unwrap() });
    let request = api::DmesgRequest { after, ..Default::default() };
    let answer = client.host().dmesg(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
    let numbers: Vec<u64> = answer.messages.iter().map(|message| message.number).collect();
    assert_eq!(numbers, [1]);
    // Those of containers have no numbers.
    let source = Some(Source::Container(api::ContainerTarget::default()));
    let request = api::LogsRequest { source, after: Some(api::LogPlace::default()), ..Default::default() };
    assert_eq!(client.host().logs(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn figures_that_take_long_keep_nobody_waiting() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id("reader")))).await;
    call(&client, "Mounts").await.unwrap();
    host.pid1.set_delay(Duration::from_secs(3));
    let scrape = client::get(&host, operators.client(&id("reader")), "/metrics");
    let answers = async {
        // The figures are being collected by then.
        eventually(|| host.pid1.asked().contains(&Ask::Status).then_some(())).await;
        let began = std::time::Instant::now();
        // It asks PID 1 nothing.
        call(&client, "Mounts").await.unwrap();
        began.elapsed()
    };
    let (scraped, answered) = tokio::join!(scrape, answers);
    assert!(scraped.starts_with("HTTP/1.1 200 OK\r\n"), "{scraped}");
    assert!(answered < Duration::from_secs(1), "{answered:?}");
}

#[tokio::test]
async fn one_address_cannot_take_all_handshakes() {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpStream;
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let reader = || operators.client(&id("reader"));
    // Connections that never say anything.
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(host.address).await.unwrap());
    }
    // They were taken in their order; the next one is closed at once, long before the deadline of a handshake.
    let mut ninth = TcpStream::connect(host.address).await.unwrap();
    let read = tokio::time::timeout(Duration::from_secs(5), ninth.read_u8()).await;
    assert!(read.expect("it is closed at once").is_err());
    assert!(handshake(&host, Some(reader())).await.is_err());
    // Another address is served meanwhile, and told.
    let metrics = client::get_from("127.0.0.2", &host, reader(), "/metrics").await;
    assert!(metrics.contains("\nlepton_api_handshakes 8\n"), "{metrics}");
    let refused = metrics.lines().find_map(|line| {
        line.strip_prefix("lepton_api_handshakes_refused_total{bound=\"address\"} ")?.parse::<u64>().ok()
    });
    assert!(refused >= Some(2), "{metrics}");
    assert!(host.audit().iter().any(|it| it["reason"] == "too many handshakes of this address at a time"));
    // A place that is left is free.
    drop(silent.pop());
    eventually_connects(&host, reader()).await;
    // The others end with the deadline.
    let mut first = silent.remove(0);
    let read = tokio::time::timeout(Duration::from_secs(15), first.read_u8()).await;
    assert!(read.expect("its handshake has a deadline").is_err());
}
