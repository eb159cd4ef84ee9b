use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::bench::Bench;
use crate::source::{Val, args};

fn v(text: &str) -> Val {
    Val::from(text)
}

/// A server that says what it was asked in `X-Saw` and answers by path.
async fn server() -> (String, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    let n = socket.read(&mut buffer).await.unwrap_or(0);
                    request.extend_from_slice(&buffer[..n]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    if let Some((head, body)) = text.split_once("\r\n\r\n") {
                        let length =
                            |l: &str| l.strip_prefix("content-length: ").and_then(|n| n.parse().ok());
                        let wanted: usize = head.to_lowercase().lines().find_map(length).unwrap_or(0);
                        if body.len() >= wanted {
                            let _ = socket.write_all(answer(head, body).as_bytes()).await;
                            return;
                        }
                    }
                    if n == 0 {
                        return;
                    }
                }
            });
        }
    });
    (format!("http://127.0.0.1:{port}"), port)
}

fn answer(head: &str, body: &str) -> String {
    let line = head.lines().next().unwrap_or_default();
    let authorized = head.to_lowercase().contains("authorization: basic dtpw");
    let path = line.split(' ').nth(1).unwrap_or_default();
    let (status, headers, text) = match path {
        "/json" => ("200 OK", "Content-Type: application/json\r\n", "{\"ok\": [1]}".to_string()),
        "/moved" => ("302 Found", "Location: /json\r\n", String::new()),
        "/private" if !authorized => {
            ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", String::new())
        }
        "/nothing" => ("404 Not Found", "", "no".to_string()),
        _ => ("200 OK", "Set-Cookie: a=1\r\n", format!("{line}|{body}")),
    };
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{text}", text.len())
}

#[tokio::test]
async fn uri_looks_and_acts() {
    let (url, _) = server().await;
    let b = Bench::new();
    let json = b.run("uri", &[("url", v(&format!("{url}/json")))]).await;
    assert_eq!((json.is(false).get("status"), json.labels.len()), (Val::Int(200), 0));
    assert_eq!(json.get("json").get("ok"), Some(&Val::from(vec![1i64])));
    assert_eq!(json.get("content"), Val::Null);
    let moved = b.run("uri", &[("url", v(&format!("{url}/moved")))]).await;
    assert_eq!((moved.get("redirected"), moved.get("url")), (Val::Bool(true), v(&format!("{url}/json"))));
    let stayed =
        [("url", v(&format!("{url}/moved"))), ("follow_redirects", v("none")), ("status_code", v("302"))];
    assert_eq!(b.run("uri", &stayed).await.is(false).get("location"), v(&format!("{url}/json")));
    let missing = b.run("uri", &[("url", v(&format!("{url}/nothing")))]).await;
    assert_eq!(missing.failure(), "Status code was 404 and not [200]: HTTP Error 404: Not Found");

    let body = args::args([("k", v("a b"))]);
    let post = |format: &str| {
        let url = v(&format!("{url}/echo"));
        [
            ("url", url),
            ("method", v("POST")),
            ("body", body.clone()),
            ("body_format", v(format)),
            ("return_content", v("yes")),
        ]
    };
    let posted = b.run("uri", &post("json")).await;
    assert_eq!(posted.is(false).text("content"), "POST /echo HTTP/1.1|{\"k\":\"a b\"}");
    assert_eq!(
        (posted.labels.as_slice(), posted.text("cookies_string")),
        (&[format!("POST {url}/echo")][..], "a=1".into())
    );
    assert_eq!(b.run("uri", &post("form-urlencoded")).await.text("content"), "POST /echo HTTP/1.1|k=a+b");
    assert!(b.run("uri", &post("form-multipart")).await.text("content").contains("form-data; name=\"k\""));

    let private = |method: &str, more: &[(&'static str, Val)]| {
        let all = [("url", v(&format!("{url}/private"))), ("method", v(method))];
        [&all[..], more].concat()
    };
    let user = [("user", v("u")), ("password", v("p"))];
    assert!(b.run("uri", &private("GET", &[])).await.failure().contains("401"));
    b.run("uri", &private("GET", &user)).await.is(false);
    let twice = b.run("uri", &private("PUT", &user)).await;
    assert_eq!(twice.is(false).labels.len(), 2);
    let once = b.run("uri", &private("PUT", &[&user[..], &[("force_basic_auth", v("yes"))]].concat())).await;
    assert_eq!(once.is(false).labels.len(), 1);

    let dest = [("url", v(&format!("{url}/json"))), ("dest", v(&b.path("")))];
    assert_eq!(b.run("uri", &dest).await.is(true).get("path"), v(&b.path("json")));
    assert_eq!(b.read("json"), "{\"ok\": [1]}");
    b.run("uri", &dest).await.is(false);
    let created = b.run("uri", &[("url", v("http://127.0.0.1:1/")), ("creates", v("/"))]).await;
    assert_eq!(created.is(false).text("stdout"), "skipped, since '/' exists");
    let refused = b.run("uri", &[("url", v("http://127.0.0.1:1/"))]).await;
    assert!(
        refused.failure().starts_with("Status code was -1 and not [200]: Request failed: <urlopen error")
    );
    assert_eq!(refused.get("status"), Val::Int(-1));
    assert!(b.run("uri", &[("url", v("127.0.0.1/x"))]).await.failure().contains("http://"));
    assert!(
        b.run("uri", &[("url", v(&url)), ("unix_socket", v("/x"))]).await.failure().contains("not supported")
    );

    let skipped = Bench::checking().run("uri", &[("url", v(&url))]).await;
    assert!(skipped.skipped && skipped.get("status") == Val::Null);
}

#[tokio::test]
async fn uri_gives_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let begun = Instant::now();
    let silent = Bench::new().run("uri", &[("url", v(&url)), ("timeout", v("1"))]).await;
    assert!(silent.failure().contains("timed out"), "{:?}", silent.failed);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn wait_for_ports_paths_and_texts() {
    let (_, port) = server().await;
    let b = Bench::new();
    let open = b.run("wait_for", &[("port", Val::Int(port.into())), ("timeout", v("5"))]).await;
    assert_eq!((open.is(false).get("port"), open.text("state")), (Val::Int(port.into()), "started".into()));
    let closed = b.run("wait_for", &[("port", Val::Int(1)), ("timeout", v("1"))]).await;
    assert_eq!(
        (closed.failure(), closed.get("elapsed")),
        ("Timeout when waiting for 127.0.0.1:1", Val::Int(1))
    );
    let own = b.run("wait_for", &[("port", Val::Int(1)), ("timeout", v("1")), ("msg", v("mine"))]).await;
    assert_eq!(own.failure(), "mine");
    b.run("wait_for", &[("port", Val::Int(1)), ("state", v("stopped"))]).await.is(false);
    let drained = [("port", Val::Int(1)), ("state", v("drained")), ("timeout", v("2"))];
    b.run("wait_for", &drained).await.is(false);

    let f = b.write("f", "done data 12\n");
    let regex = v("^done (?P<what>\\w+) ([0-9]+)$");
    let found = b.run("wait_for", &[("path", v(&f)), ("search_regex", regex.clone())]).await;
    assert_eq!(found.is(false).get("match_groups"), Val::from(vec!["data", "12"]));
    assert_eq!(found.get("match_groupdict").get("what"), Some(&v("data")));
    let gone = b.run("wait_for", &[("path", v(&f)), ("state", v("absent")), ("timeout", v("1"))]).await;
    assert_eq!(gone.failure(), format!("Timeout when waiting for {f} to be absent."));
    let later = b.path("later");
    let writer = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        std::fs::write(later, "done data 12\n").unwrap();
    });
    let waited = b
        .run("wait_for", &[("path", v(&b.path("later"))), ("search_regex", regex), ("timeout", v("9"))])
        .await;
    waited.is(false);
    writer.await.unwrap();
    assert!(Bench::checking().run("wait_for", &[("timeout", v("60"))]).await.skipped);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let talking = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"SSH-2.0-OpenSSH_9\r\n").await.unwrap();
    });
    let said = [("port", Val::Int(talking.into())), ("search_regex", v("OpenSSH")), ("timeout", v("5"))];
    b.run("wait_for", &said).await.is(false);
}

/// A TLS server by `openssl`, ended when dropped; with its own certificate for `localhost`.
struct TlsServer {
    process: std::process::Child,
    port: u16,
}

impl TlsServer {
    fn start(b: &Bench) -> TlsServer {
        let openssl = |args: &[&str]| {
            let said = std::process::Command::new("openssl").args(args).current_dir(b.dir.path()).output();
            assert!(said.expect("openssl is needed for this test").status.success(), "{args:?}");
        };
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            "key",
            "-out",
            "cert",
        ]);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = std::process::Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                &format!("127.0.0.1:{port}"),
                "-cert",
                "cert",
                "-key",
                "key",
                "-www",
                "-quiet",
            ])
            .current_dir(b.dir.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        TlsServer { process, port }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn uri_checks_certificates() {
    let b = Bench::new();
    let server = TlsServer::start(&b);
    let port = Val::Int(server.port.into());
    b.run("wait_for", &[("host", v("127.0.0.1")), ("port", port), ("timeout", v("10")), ("sleep", v("0"))])
        .await
        .is(false);
    let url = format!("https://localhost:{}/", server.port);
    let strict = b.run("uri", &[("url", v(&url))]).await;
    assert!(strict.failure().contains("certificate"), "{:?}", strict.failed);
    b.run("uri", &[("url", v(&url)), ("validate_certs", v("no"))]).await.is(false);
    b.run("uri", &[("url", v(&url)), ("ca_path", v(&b.path("cert")))]).await.is(false);
    let other_name = format!("https://127.0.0.1:{}/", server.port);
    let wrong = b.run("uri", &[("url", v(&other_name)), ("ca_path", v(&b.path("cert")))]).await;
    assert!(wrong.failure().contains("certificate"), "{:?}", wrong.failed);
    assert!(b.run("uri", &[("url", v(&url)), ("ca_path", v("/nope"))]).await.failure().contains("ca_path"));
}
