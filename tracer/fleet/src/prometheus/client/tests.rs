use super::super::fake::{Fake, ok};
use super::*;

fn limits() -> Limits {
    Limits { time: Duration::from_secs(20), bytes: 1 << 20 }
}

fn ask(fake: &Fake, limits: Limits) -> Result<Vec<f64>, EngineError> {
    let engine = Engine::new(&fake.url(), &Access::default(), limits)?;
    engine.query("up", Some(1.5), |series| Some(series.value()))
}

fn refused(raw: impl Into<String>) -> String {
    let raw = raw.into();
    let fake = Fake::raw(move |_| raw.clone());
    chain(&ask(&fake, limits()).unwrap_err()).replace(&fake.url(), "URL")
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {}", chain(source)))
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_query_is_a_form_and_headers_go_with_it() {
    let fake = Fake::new(|_| ok(&[(&[("a", "b")], 7.0)]));
    let mut access = Access::default();
    access.header("X-Scope-OrgID: fleet").unwrap();
    let engine = Engine::new(&format!("{}/a/prefix/", fake.url()), &access, limits()).unwrap();
    let values = engine.query("sum(x{a=\"b&c\"})", Some(1.5), |series| Some(series.value())).unwrap();
    assert_eq!(values, [7.0]);
    let request = fake.requests().pop().unwrap();
    assert!(request.head.starts_with("POST /a/prefix/api/v1/query HTTP/1.1\r\n"), "{}", request.head);
    assert!(request.head.to_lowercase().contains("x-scope-orgid: fleet\r\n"), "{}", request.head);
    assert_eq!(request.field("query").as_deref(), Some("sum(x{a=\"b&c\"})"));
    assert_eq!(request.field("time").as_deref(), Some("1.500"));
}

#[test]
fn addresses() {
    let address = |url| endpoint(url, API).map_err(|error| error.to_string());
    assert_eq!(address("http://h:9090").unwrap(), "http://h:9090/api/v1/query");
    assert_eq!(address("https://h/prometheus/").unwrap(), "https://h/prometheus/api/v1/query");
    assert_eq!(address("http://[::1]:9090/api/v1/query").unwrap(), "http://[::1]:9090/api/v1/query");
    for url in ["", "h:9090", "localhost", "ftp://h", "http://", "http://h/?a=b", "/a"] {
        assert!(address(url).unwrap_err().contains("http://host:9090"), "{url}");
    }
    let secret = address("http://me:hush@h").unwrap_err();
    assert!(!secret.contains("hush") && secret.contains("--http-config"), "{secret}");
}

#[test]
fn errors_of_engines_and_proxies_are_reported() {
    let own = r#"{"status":"error","errorType":"execution","error":"too many samples"}"#;
    let message = refused(response("422 Unprocessable Entity", own));
    assert_eq!(message, "URL/api/v1/query could not answer: too many samples (execution); the query was up");
    let lines = r#"{"status":"error","errorType":"a\nb","error":"no\n1. critical"}"#;
    let message = refused(response("422 Unprocessable Entity", lines));
    assert!(message.contains("no\u{fffd}1. critical (a\u{fffd}b)") && !message.contains('\n'), "{message}");
    let message = refused(response("401 Unauthorized", "no\r\nway"));
    assert!(message.starts_with("URL/api/v1/query answers with HTTP status 401 (no way); --http-config"), "{message}");
    let message = refused(response("404 Not Found", ""));
    assert!(message.contains("status 404; give the address with the path"), "{message}");
    let message = refused("HTTP/1.1 302 Found\r\nLocation: http://other/graph\r\nContent-Length: 0\r\n\r\n");
    assert!(message.contains("redirects to http://other/graph"), "{message}");
}

#[test]
fn invalid_answer_is_distinguished_from_a_truncated_one() {
    for body in ["<html>welcome</html>", "{}", "[1]", r#"{"status":"success","data":{"result":{}}}"#, "\u{1}\u{2}"] {
        assert!(refused(response("200 OK", body)).contains("not an answer of the Prometheus API"), "{body}");
    }
    let whole = ok(&[(&[("a", "b")], 7.0)]);
    let half = response("200 OK", &whole[..whole.len() / 2]);
    assert!(refused(half).contains("is truncated"));
    let closed = format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{whole}");
    assert!(refused(closed).contains("is truncated"));
    assert!(refused("no HTTP at all\r\n\r\n").contains("cannot reach"));
}

#[test]
fn endless_answer_is_an_error() {
    let fake = Fake::new(|_| ok(&[(&[("a", &"b".repeat(5_000))], 7.0)]));
    let message = ask(&fake, Limits { bytes: 1_000, ..limits() }).unwrap_err().to_string();
    assert!(message.contains("more than 1000 bytes") && message.contains("--match"), "{message}");
}

#[test]
fn engine_that_does_not_answer_times_out() {
    for held_after in ["", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"status\":"] {
        let fake = Fake::hanging(held_after);
        let short = Limits { time: Duration::from_millis(50), ..limits() };
        let message = ask(&fake, short).unwrap_err().to_string();
        assert!(message.contains("had not answered in full after 50ms") && message.contains("--timeout"), "{message}");
    }
}

#[test]
fn nobody_there() {
    let fake = Fake::new(|_| String::new());
    let url = fake.url();
    drop(fake);
    let engine = Engine::new(&url, &Access::default(), limits()).unwrap();
    let message = chain(&engine.query("up", None, |_| Some(())).unwrap_err());
    assert!(message.starts_with(&format!("cannot reach {url}/api/v1/query: is it up")), "{message}");
}

#[test]
fn warnings_are_kept_once() {
    let fake = Fake::new(|_| r#"{"status":"success","data":{"result":[]},"warnings":["a store is down"]}"#.to_owned());
    let engine = Engine::new(&fake.url(), &Access::default(), limits()).unwrap();
    for _ in 0..2 {
        engine.query("up", None, |_| Some(())).unwrap();
    }
    assert_eq!(engine.warnings(), ["a store is down"]);
}
