use std::fs;
use std::path::PathBuf;

use rcgen::CertifiedKey;

use super::*;

/// The hash of `secret`, at the lowest cost.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// A folder with a certificate and its key, which is removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("droptrace-web-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("server.crt"), cert.pem()).unwrap();
        fs::write(folder.join("server.key"), signing_key.serialize_pem()).unwrap();
        fs::write(folder.join("empty.pem"), "").unwrap();
        Self(folder)
    }

    fn parse(&self, text: &str) -> Result<WebConfig> {
        WebConfig::parse(text, &self.0)
    }

    fn refused(&self, text: &str) -> String {
        format!("{:#}", self.parse(text).err().unwrap_or_else(|| panic!("it takes {text}")))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

#[test]
fn file_without_protection_is_valid() {
    let folder = Folder::new("nothing");
    for text in ["{}", "http_server_config:\n  http2: true"] {
        let web = folder.parse(text).unwrap();
        assert!(web.tls.is_none() && web.users.is_none(), "{text:?}");
    }
}

/// The remains of a truncated file.
#[test]
fn empty_settings_are_an_error() {
    let folder = Folder::new("cut");
    for text in ["", "# nothing\n", "---\n", "basic_auth_users: {}"] {
        let error = folder.refused(text);
        assert!(error.contains("empty"), "{text:?}: {error}");
    }
    for text in ["basic_auth_users:\n", "basic_auth_users: ~", "tls_server_config:\n", "tls_server_config: {}\n"] {
        folder.refused(text);
    }
}

#[test]
fn missing_protection_is_named() {
    let folder = Folder::new("gone");
    let read = |text: &str| folder.parse(text).unwrap();
    let (open, encrypted) = (read("{}"), read(TLS));
    let mutual = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: server.crt\n";
    let mutual = read(&format!("{TLS}{mutual}"));
    let passwords = read(&format!("{TLS}basic_auth_users:\n  alice: {HASH}\n"));
    assert_eq!(open.lost_since(&encrypted), Some("tls_server_config"));
    assert_eq!(encrypted.lost_since(&mutual), Some("client_auth_type"));
    assert_eq!(encrypted.lost_since(&passwords), Some("basic_auth_users"));
    assert_eq!(passwords.lost_since(&encrypted), None);
    assert_eq!(mutual.lost_since(&open), None);
    assert_eq!(mutual.lost_since(&mutual), None);
}

#[test]
fn paths_are_relative_to_the_folder() {
    let folder = Folder::new("named");
    assert!(folder.parse(TLS).unwrap().tls.is_some());
    let path = folder.0.join("web.yml");
    fs::write(&path, TLS).unwrap();
    assert!(WebConfig::read(&path).unwrap().tls.is_some());
    let error = format!("{:#}", WebConfig::read(&folder.0.join("absent.yml")).err().unwrap());
    assert!(error.contains("absent.yml") && error.contains("No such file"), "{error}");
}

#[test]
fn supported_settings_are_accepted() {
    let folder = Folder::new("all");
    for more in [
        "  min_version: TLS13\n",
        "  max_version: TLS12\n  prefer_server_cipher_suites: true\n",
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: server.crt\n",
        "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: server.crt\n",
        "  client_auth_type: NoClientCert\n  client_ca_file: \"\"\n",
    ] {
        folder.parse(&format!("{TLS}{more}")).unwrap_or_else(|error| panic!("{more}: {error:#}"));
    }
    let indented = |file| fs::read_to_string(folder.0.join(file)).unwrap().replace('\n', "\n    ");
    let (cert, key) = (indented("server.crt"), indented("server.key"));
    assert!(folder.parse(&format!("tls_server_config:\n  cert: |\n    {cert}\n  key: |\n    {key}\n")).is_ok());
}

#[test]
fn unsupported_settings_are_an_error() {
    let folder = Folder::new("refused");
    for (text, words) in [
        ("tls_config: {}", vec!["tls_config"]),
        ("tls_server_config: {cert_fil: x}", vec!["cert_fil"]),
        ("rate_limit: {interval: 1s}", vec!["rate_limit is not supported"]),
        ("http_server_config: {headers: {X: y}}", vec!["headers is not supported"]),
        ("basic_auth_users: {alice: secret}", vec!["basic_auth_users", "alice", "bcrypt"]),
        ("basic_auth_users: [alice]", vec!["mapping", "line 1"]),
        ("tls_server_config: {}", vec!["cert_file and key_file are both needed"]),
        ("tls_server_config: {cert_file: server.crt}", vec!["both needed"]),
        ("tls_server_config: {cert_file: no.crt, key_file: server.key}", vec!["no.crt", "No such file"]),
        ("tls_server_config: {cert_file: empty.pem, key_file: server.key}", vec!["empty.pem", "no certificate"]),
        ("tls_server_config: {cert_file: server.crt, key_file: empty.pem}", vec!["empty.pem", "no private key"]),
        ("tls_server_config: {cert_file: server.crt, cert: x, key_file: server.key}", vec!["exclude one another"]),
        ("[", vec!["1"]),
    ] {
        let error = folder.refused(text);
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
    }
    for (more, word) in [
        ("client_allowed_sans: [x]", "client_allowed_sans is not supported"),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", "cipher_suites is not supported"),
        ("curve_preferences: [X25519]", "curve_preferences is not supported"),
        ("min_version: TLS10", "not safe"),
        ("min_version: TLS13\n  max_version: TLS12", "exclude both"),
        ("min_version: SSL30", "TLS13"),
        ("client_auth_type: RequireAnyClientCert", "without verification"),
        ("client_auth_type: RequireAndVerifyClientCert", "needs client_ca_file"),
        ("client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: empty.pem", "no certificate"),
        ("client_ca_file: server.crt", "client_auth_type asks for no certificates"),
    ] {
        let error = folder.refused(&format!("{TLS}  {more}\n"));
        assert!(error.contains(word), "{more}: {error}");
    }
}

#[test]
fn key_of_another_certificate_is_an_error() {
    let folder = Folder::new("fit");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.0.join("other.key"), other.signing_key.serialize_pem()).unwrap();
    folder.refused("tls_server_config: {cert_file: server.crt, key_file: other.key}");
}

#[tokio::test]
async fn users_are_those_of_the_file() {
    let folder = Folder::new("users");
    let users = folder.parse(&format!("basic_auth_users:\n  alice: {HASH}\n")).unwrap().users.unwrap();
    // alice:secret and alice:wrong
    assert!(users.admit(Some(b"Basic YWxpY2U6c2VjcmV0")).await);
    assert!(!users.admit(Some(b"Basic YWxpY2U6d3Jvbmc=")).await);
}

#[test]
fn errors_do_not_contain_hashes() {
    let folder = Folder::new("hash");
    let error = folder.refused("basic_auth_users:\n  alice: $2y$99$hidden\nunknown: 1\n");
    assert!(!error.contains("hidden"), "{error}");
}
