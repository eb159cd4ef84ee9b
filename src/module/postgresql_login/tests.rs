use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn given(expect: Expect, trust_ok: bool) -> Args {
    Args {
        login_user: "silver".into(),
        login_password: Text::secret("right-password"),
        login_db: None,
        login_host: Some("db".into()),
        login_port: 5432,
        project_src: None,
        service: None,
        consumer: None,
        expect,
        trust_ok,
        connect_timeout: 1,
        docker_cli: None,
    }
}

fn reply(method: &'static str, sqlstate: Option<&str>) -> Reply {
    let error = sqlstate.map(|s| wire::Refusal { sqlstate: s.into(), message: "no".into() });
    Reply { method, error }
}

#[test]
fn what_is_expected_decides() {
    let path = Path { host: "172.18.0.2".into(), port: 5432, network: Some("p_default".into()) };
    for (expect, trust_ok, reply, wanted) in [
        (Expect::Accepted, false, reply("scram-sha-256", None), Ok(0)),
        (
            Expect::Accepted,
            false,
            reply("scram-sha-256", Some("28P01")),
            Err("does not log in as silver at 172.18.0.2"),
        ),
        (Expect::Accepted, false, reply("trust", None), Ok(1)),
        (Expect::Refused, false, reply("scram-sha-256", Some("28P01")), Ok(0)),
        (Expect::Refused, false, reply("scram-sha-256", Some("3D000")), Err("not for its password")),
        (Expect::Refused, false, reply("md5", None), Err("still logs in")),
        (Expect::Refused, false, reply("trust", None), Err("trusts every password")),
        (Expect::Refused, true, reply("trust", None), Ok(1)),
        (Expect::Any, false, reply("none", Some("28000")), Ok(0)),
    ] {
        let judged = judge(&given(expect, trust_ok), &path, &reply);
        match (judged, wanted) {
            (Ok(plan), Ok(warnings)) => {
                assert_eq!(plan.warnings.len(), warnings, "{expect:?} {reply:?}");
                assert!(plan.steps.is_empty());
            }
            (Err(failure), Err(part)) => assert!(failure.message.contains(part), "{failure}"),
            (Ok(_), Err(part)) => panic!("{expect:?} {reply:?} passed; wanted: {part}"),
            (Err(failure), Ok(_)) => panic!("{expect:?} {reply:?}: {failure}"),
        }
    }
}

#[test]
fn the_address_is_one_that_the_consumer_shares() {
    let listing = r#"{"service":"db","networks":{"inner":{"IPAddress":"10.0.0.2"},"other":{"IPAddress":"10.1.0.2"}}}
{"service":"api","networks":{"other":{"IPAddress":"10.1.0.3"}}}
{"service":"host","networks":{"host":{"IPAddress":""}}}"#;
    let found = shared_address(listing, "db", Some("api")).unwrap();
    assert_eq!(found, ("other".to_string(), "10.1.0.2".to_string()));
    assert_eq!(shared_address(listing, "db", None).unwrap().1, "10.0.0.2");
    for (server, consumer, part) in [
        ("gone", None, "no running container"),
        ("db", Some("gone"), "no running container"),
        ("db", Some("host"), "share no network"),
        ("host", None, "on no network"),
    ] {
        let failure = shared_address(listing, server, consumer).unwrap_err();
        assert!(failure.message.contains(part), "{failure}");
    }
}

/// A server that sends `script` and ignores what it is told.
async fn against(script: Vec<u8>) -> Result<Reply, String> {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        theirs.write_all(&script).await.unwrap();
        let mut all = Vec::new();
        let _ = theirs.read_to_end(&mut all).await;
    });
    let login = Login { user: "silver".into(), database: "silver".into(), password: Text::secret("x") };
    wire::log_in(&mut ours, &login).await
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

#[tokio::test]
async fn trust_and_refusal_are_told_apart() {
    let ok = [message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), message(b'Z', b"I")].concat();
    assert_eq!(against(ok).await.unwrap(), reply("trust", None));
    let no = message(b'E', b"SFATAL\0C28000\0Mno pg_hba.conf entry\0\0");
    let refused = against(no).await.unwrap();
    assert_eq!(
        (refused.method, refused.error.unwrap().to_string().as_str()),
        ("none", "no pg_hba.conf entry (28000)")
    );
    let asked = [message(b'R', &3_u32.to_be_bytes()), message(b'E', b"C28P01\0Mwrong\0\0")].concat();
    assert_eq!(against(asked).await.unwrap().method, "password");
}

#[tokio::test]
async fn what_is_no_postgres_is_an_error_and_no_panic() {
    for script in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        b"R\xff\xff\xff\xff".to_vec(),
        message(b'R', &[0, 0]),
        message(b'R', &[0, 0, 0, 11, b'x']),
        message(b'R', &[0, 0, 0, 77]),
        message(b'R', b"\0\0\0\x0aSOMETHING-ELSE\0\0"),
    ] {
        against(script).await.unwrap_err();
    }
}
