//! Containers: their logs, and programs in them.

use std::io::Write as _;

use lepton_host_api::v1 as api;
use lepton_host_api::v1::exec_request::Message;
use lepton_host_api::v1::exec_response::Message as Said;
use lepton_host_api::v1::logs_request::Source;
use tonic::Code;
use tonic::codegen::tokio_stream;

use crate::authority::Authority;
use crate::client::Client;
use crate::host::{Host, eventually};
use crate::{id, runtime};

fn target(container: &str) -> api::ContainerTarget {
    api::ContainerTarget { pod: String::new(), container: container.into() }
}

async fn exec(client: &Client, messages: Vec<Message>) -> Result<(Vec<u8>, Vec<u8>, u32), tonic::Status> {
    let requests = messages.into_iter().map(|message| api::ExecRequest { message: Some(message) });
    // A caller who says no more goes on listening.
    let requests: Vec<api::ExecRequest> = requests.collect();
    let mut answers = client.host().exec(tokio_stream::iter(requests)).await?.into_inner();
    let (mut stdout, mut stderr, mut code) = (Vec::new(), Vec::new(), None);
    while let Some(answer) = answers.message().await? {
        assert_eq!(code, None, "the exit code is the last message");
        match answer.message.unwrap() {
            Said::Stdout(bytes) => stdout.extend(bytes),
            Said::Stderr(bytes) => stderr.extend(bytes),
            Said::ExitCode(number) => code = Some(number),
        }
    }
    Ok((stdout, stderr, code.unwrap()))
}

#[tokio::test]
async fn programs_in_containers() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    runtime::serve(&host.place("runtime.sock"), host.place("log/0.log")).await;
    let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id("admin")))).await;
    let start = |command: &str, stdin, tty| api::ExecStart {
        container: Some(target("web")),
        command: vec![command.into(), "hunter2".into()],
        stdin,
        tty,
        size: tty.then_some(api::WindowSize { columns: 132, rows: 50 }),
    };
    let much: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let mut messages = vec![Message::Start(start("cat", true, false))];
    messages.extend(much.chunks(50_000).map(|chunk| Message::Stdin(chunk.to_vec())));
    messages.push(Message::StdinEnd(api::ExecInputEnd {}));
    let (stdout, stderr, code) = exec(&client, messages).await.unwrap();
    assert!(stdout == much, "{} bytes came back", stdout.len());
    assert_eq!((stderr.as_slice(), code), (&b"done"[..], 7));
    let (stdout, stderr, _) = exec(&client, vec![Message::Start(start("tty", false, true))]).await.unwrap();
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"132x50"[..], &b""[..]));

    let mut start_of_none = start("none", false, false);
    let status = exec(&client, vec![Message::Start(start_of_none.clone())]).await.unwrap_err();
    assert!(
        status.code() == Code::FailedPrecondition && status.message().ends_with("no such program"),
        "{status}"
    );
    start_of_none.container = Some(target("db"));
    let status = exec(&client, vec![Message::Start(start_of_none)]).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    for (messages, text) in [
        (vec![Message::Stdin(vec![1])], "the first message starts a program"),
        (
            vec![Message::Start(api::ExecStart { container: Some(target("web")), ..Default::default() })],
            "name a program",
        ),
        (
            vec![Message::Start(start("x", true, false)), Message::Start(start("x", true, false))],
            "started already",
        ),
    ] {
        let status = exec(&client, messages).await.unwrap_err();
        assert!(status.code() == Code::InvalidArgument && status.message().contains(text), "{status}");
    }
    let records = eventually(|| {
        let records = host.audit();
        (records.iter().filter(|it| it["method"] == "Exec").count() >= 6).then_some(records)
    })
    .await;
    let good = records.iter().find(|it| it["arguments"]["exit-code"] == 7).unwrap();
    assert_eq!(
        (&good["arguments"]["program"], &good["arguments"]["id"]),
        (&"cat".into(), &runtime::ID.into())
    );
    assert!(!host.log().join("\n").contains("hunter2"), "arguments were recorded");
}

#[tokio::test]
async fn logs_of_containers() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let path = host.place("log/0.log");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "1970-01-01T00:00:01Z stdout F one\n1970-01-01T00:00:02Z stderr F two\n1970-01-01T00:00:03Z stdout P th")
        .unwrap();
    runtime::serve(&host.place("runtime.sock"), path.clone()).await;
    let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id("reader")))).await;
    let read = |follow, tail, since_unix_ms| {
        let source = Some(Source::Container(target("web")));
        let mut host = client.host();
        async move {
            host.logs(api::LogsRequest { source, follow, tail, since_unix_ms, after: None })
                .await
                .map(tonic::Response::into_inner)
        }
    };
    let line = |time_unix_ms, text: &str, stream: api::LogStream| api::LogLine {
        time_unix_ms,
        text: text.into(),
        stream: stream.into(),
        number: None,
    };
    let one = line(1000, "one", api::LogStream::Stdout);
    let two = line(2000, "two", api::LogStream::Stderr);
    let all = read(false, None, None).await.unwrap().message().await.unwrap().unwrap();
    assert_eq!(all.lines, [one, two.clone()]);
    for (tail, since) in [(Some(1), None), (None, Some(1500))] {
        let some = read(false, tail, since).await.unwrap().message().await.unwrap().unwrap();
        assert_eq!(some.lines, std::slice::from_ref(&two));
    }

    let mut followed = read(true, Some(0), None).await.unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    // The end of the entry that was being written, and another one.
    file.write_all(b"ree\n1970-01-01T00:00:03Z stdout F !\n").unwrap();
    assert_eq!(
        followed.message().await.unwrap().unwrap().lines,
        [line(3000, "three!", api::LogStream::Stdout)]
    );
    // Moved aside, and begun anew.
    std::fs::rename(&path, path.with_extension("log.20261129-101112")).unwrap();
    file.write_all(b"1970-01-01T00:00:04Z stdout F four\n").unwrap();
    std::fs::write(&path, "1970-01-01T00:00:05Z stdout F five\n").unwrap();
    let mut texts = Vec::new();
    while texts.len() < 2 {
        texts.extend(followed.message().await.unwrap().unwrap().lines.into_iter().map(|line| line.text));
    }
    assert_eq!(texts, ["four", "five"]);

    let containers = client.host().containers(api::ContainersRequest::default()).await.unwrap().into_inner();
    let shown = &containers.containers[0];
    assert_eq!((&*shown.name, &*shown.image, shown.created_unix_ms), ("web", "registry.example/web:1", 5000));
    assert_eq!((shown.state(), shown.attempt), (api::ContainerState::Running, 2));
    let status = client.host().logs(api::LogsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
