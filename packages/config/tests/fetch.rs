//! Fetching from servers in this program: redirects, digests, and every way to fail.

mod server;

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lepton_config_fetch::fetch::{FetchError, MAX_BYTES, fetch};
use lepton_config_fetch::url::Wanted;
use server::{CONFIG, listen, ok, serve};

/// Of [`CONFIG`], by sha256sum(1).
const DIGEST: &str = "d615574f85ecd6e1250c0f00b3fc4006b690b32a3f8fee9250e80a87ffbad871";
/// Longer than any of these exchanges takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn get(url: &str) -> Result<String, FetchError> {
    fetch(&Wanted::parse(url).expect("a good URL"), Path::new("/nowhere"), LIMIT)
}

#[test]
fn a_config_with_redirects_and_its_digest() {
    let server = listen(|stream| {
        serve(stream, |target| match target {
            "/a" => "HTTP/1.1 302 Found\r\nLocation: b/c\r\n\r\n".to_owned(),
            "/b/c" => "HTTP/1.1 301 Moved\r\nLocation: /config\r\n\r\n".to_owned(),
            "/config" => ok(CONFIG),
            "/loop" => "HTTP/1.1 302 Found\r\nLocation: /loop\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 404 Not Found\r\n\r\n".to_owned(),
        })
    });
    assert_eq!(get(&format!("http://{server}/a")).unwrap(), CONFIG);
    assert_eq!(get(&format!("http://{server}/a#sha256={DIGEST}")).unwrap(), CONFIG);
    let other = DIGEST.replace('a', "b");
    let error = get(&format!("http://{server}/config#sha256={other}")).unwrap_err();
    assert_eq!(error.to_string(), format!("the config has the sha256 {DIGEST}, not the one behind the URL"));
    assert!(matches!(get(&format!("http://{server}/loop")), Err(FetchError::Redirect(_))));
    assert!(matches!(get(&format!("http://{server}/none")), Err(FetchError::Status(404))));
}

#[test]
fn what_is_served_is_judged() {
    let server = listen(|stream| {
        serve(stream, |target| match target {
            "/large" => ok(&"#".repeat(usize::try_from(MAX_BYTES).unwrap() + 1)),
            "/page" => ok("<!doctype html>\n<p>Sign in</p>\n"),
            "/cloud" => ok("#cloud-config\nhostname: x\n"),
            "/empty" => ok(""),
            // One mistake costs its key, as in every source; PID 1 tells of it.
            _ => ok("hostnam = \"x\"\ntime.servers = [\"192.0.2.1\"]\n"),
        })
    });
    let error = |path: &str| get(&format!("http://{server}/{path}")).unwrap_err().to_string();
    assert_eq!(error("large"), format!("the config is larger than {MAX_BYTES} bytes"));
    assert!(error("page").starts_with("this is no machine config: url:"), "{}", error("page"));
    assert!(error("cloud").contains("cloud-init"), "{}", error("cloud"));
    assert_eq!(get(&format!("http://{server}/empty")).unwrap(), "");
    assert!(get(&format!("http://{server}/half")).unwrap().contains("hostnam"));
}

#[test]
fn nobody_there_and_nobody_answers() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = get(&format!("http://{free}/")).unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
    // A listener that never accepts: the connection is made, and nothing comes.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let started = Instant::now();
    let error = fetch(&Wanted::parse(&url).unwrap(), Path::new("/"), Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, FetchError::Exchange(_)), "{error}");
    assert!(started.elapsed() < LIMIT);
    // One byte now and then does not prolong the time.
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", slow.local_addr().unwrap());
    thread::spawn(move || {
        let mut stream: TcpStream = slow.accept().unwrap().0;
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let error = fetch(&Wanted::parse(&url).unwrap(), Path::new("/"), Duration::from_millis(400)).unwrap_err();
    assert!(matches!(error, FetchError::Exchange(_)), "{error}");
}
