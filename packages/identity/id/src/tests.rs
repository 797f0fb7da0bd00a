//! The program against an agent that gives one answer.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use lepton_identity_control::{ErrorKind, Jwt, State, Status, Text};

use super::*;

fn status_of(state: State) -> Answer {
    Answer::Status(Box::new(Status {
        state,
        since: 0,
        trust_domain: "example.org".to_owned(),
        spiffe_id: None,
        serial: None,
        not_before: None,
        expires_at: None,
        expires_in_s: None,
        attestor: None,
        reattestable: false,
        server: None,
        servers: Vec::new(),
        entries: 0,
        svids: 0,
        last_sync: None,
        last_error: None,
        bundle_sequence: None,
        persistent: true,
    }))
}

/// Starts an agent that answers every request so; gives what it was asked, and where it is.
fn agent(answer: Answer) -> (tempfile::TempDir, PathBuf, std::sync::mpsc::Receiver<Request>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (asked, requests) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = Vec::new();
            BufReader::new(stream.try_clone().unwrap()).read_until(b'\n', &mut line).unwrap();
            asked.send(Request::from_line(&line).unwrap()).unwrap();
            stream.write_all(answer.to_line().as_bytes()).unwrap();
        }
    });
    (dir, path, requests)
}

/// What the program prints and ends with.
fn call(line: &str, answer: Answer) -> (String, Result<u8, Failure>, Request) {
    let (_dir, socket, requests) = agent(answer);
    let words = line.split_whitespace();
    let options = Options { socket, ..Options::parse(lexopt::Parser::from_args(words)).unwrap() };
    let mut output = Vec::new();
    let code = run(&options, &mut output);
    (String::from_utf8(output).unwrap(), code, requests.recv().unwrap())
}

#[test]
fn a_code_for_each_state() {
    let mut codes = Vec::new();
    for state in State::ALL {
        let (text, code, request) = call("status", status_of(state));
        assert_eq!(request, Request::Status);
        assert!(text.starts_with(&format!("state         {state}\n")), "{text}");
        codes.push(code.unwrap());
    }
    assert_eq!(codes, [0, 12, 0, 10, 11, 13, 14, 15, 16]);
}

#[test]
fn a_token_is_printed_alone_or_with_what_it_is() {
    let jwt = Jwt {
        spiffe_id: "spiffe://example.org/a".to_owned(),
        token: Text::new("a.b.c".to_owned()),
        expires_at: 5,
        hint: String::new(),
    };
    let (text, code, request) = call("fetch jwt --audience x", Answer::Jwt(vec![jwt.clone()]));
    assert_eq!((text.as_str(), code.unwrap()), ("a.b.c\n", 0));
    assert_eq!(request, Request::FetchJwt { audience: vec!["x".to_owned()], spiffe_id: None });
    let (text, ..) = call("-o json fetch jwt --audience x", Answer::Jwt(vec![jwt]));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["token"], &value["expires-at"]), (&json!("a.b.c"), &json!(5)));
}

#[test]
fn refusals_have_codes_of_their_own() {
    let refuse = |kind| Answer::error(kind, "because");
    for (line, kind, want) in [
        ("bundle other.example", ErrorKind::NotFound, 3),
        ("wait --ready --timeout 1", ErrorKind::Timeout, 4),
        ("leave", ErrorKind::Unavailable, 1),
    ] {
        let (text, code, _) = call(line, refuse(kind));
        let error = code.unwrap_err();
        assert_eq!((text.as_str(), error.exit_code(), error.to_string().as_str()), ("", want, "because"));
    }
    // Another answer than that to the question is no success.
    let (_, code, _) = call("refresh", status_of(State::Ready));
    assert!(matches!(code, Err(Failure::OtherAnswer)));
}

#[test]
fn a_token_goes_from_its_file_to_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "5c5a\n").unwrap();
    let (_, code, request) = call(&format!("join --token-file {}", file.display()), status_of(State::Ready));
    assert_eq!(code.unwrap(), 0);
    let Request::Join { token: Some(token) } = request else { panic!("{request:?}") };
    assert_eq!(token.expose(), "5c5a");
}

#[test]
fn waiting_begins_before_the_agent_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("absent.sock");
    let error = wait(&socket, Some(1)).unwrap_err();
    assert!(matches!(error, Failure::TooLate(1)) && error.exit_code() == 4, "{error}");
    let (_dir, late, _requests) = agent(status_of(State::Ready));
    let link = socket.clone();
    let starts = thread::spawn(move || {
        thread::sleep(LOOK);
        std::os::unix::fs::symlink(late, link).unwrap();
    });
    assert!(matches!(wait(&socket, None).unwrap(), Answer::Status(_)));
    starts.join().unwrap();
}
