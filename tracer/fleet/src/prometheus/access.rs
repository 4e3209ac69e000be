//! Access to an engine: passwords, tokens, certificates, headers. Secrets are read from files, because all users of a
//! host can read the arguments of a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use droptrace_base::files::{self, MAX_SETTINGS};
use serde::Deserialize;
use ureq::http::{HeaderName, HeaderValue, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::error::EngineError;

/// Settings of a file (TOML), with the names that Prometheus uses.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    basic_auth: Option<BasicAuth>,
    authorization: Option<Authorization>,
    #[serde(default)]
    tls_config: Tls,
    /// Headers of each request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The file's folder. Files that the settings name are relative to it.
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicAuth {
    username: String,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Authorization {
    #[serde(default = "bearer", rename = "type")]
    scheme: String,
    credentials: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    /// Certificates (PEM) of trusted authorities, instead of the system's.
    ca_file: Option<PathBuf>,
}

fn bearer() -> String {
    "Bearer".to_owned()
}

impl Access {
    /// Reads a file of settings.
    pub fn read(path: &Path) -> Result<Self, EngineError> {
        let failed = |source| EngineError::File { path: path.to_owned(), source };
        let text = files::read_text(path, MAX_SETTINGS).map_err(|error| failed(error.into()))?;
        let mut access: Self = toml::from_str(&text).map_err(|error| failed(shown(&error, &text).into()))?;
        path.parent().unwrap_or(Path::new("")).clone_into(&mut access.folder);
        Ok(access)
    }

    /// Adds a header, such as `X-Scope-OrgID: fleet`.
    pub fn header(&mut self, line: &str) -> Result<(), EngineError> {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| EngineError::Settings("a header is a name and a value, as `X-Scope-OrgID: fleet`".into()))?;
        self.headers.insert(name.trim().to_owned(), value.trim().to_owned());
        Ok(())
    }

    /// The headers of each request.
    pub(crate) fn request_headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, EngineError> {
        let mut all: Vec<_> = self.headers.iter().map(|(name, value)| header(name, value)).collect::<Result<_, _>>()?;
        let login = match (&self.basic_auth, &self.authorization) {
            (Some(_), Some(_)) => {
                return Err(EngineError::Settings("basic_auth and authorization exclude each other".into()));
            }
            (Some(basic), None) => {
                let password = self.secret("basic_auth", basic.password.as_deref(), basic.password_file.as_deref())?;
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{password}", basic.username))))
            }
            (None, Some(it)) => {
                let secret = self.secret("authorization", it.credentials.as_deref(), it.credentials_file.as_deref())?;
                Some(format!("{} {secret}", it.scheme))
            }
            (None, None) => None,
        };
        if let Some(login) = login {
            all.push(header(header::AUTHORIZATION.as_str(), &login)?);
        }
        Ok(all)
    }

    fn secret(&self, of: &str, written: Option<&str>, file: Option<&Path>) -> Result<String, EngineError> {
        match (written, file) {
            (Some(secret), None) => Ok(secret.to_owned()),
            (None, Some(file)) => {
                Ok(self.file(file, |path| files::read_text(&path, MAX_SETTINGS))?.trim_end().to_owned())
            }
            _ => {
                Err(EngineError::Settings(format!("{of} has a secret and a file of the secret: give only one of them")))
            }
        }
    }

    fn file<T>(&self, file: &Path, read: impl FnOnce(PathBuf) -> std::io::Result<T>) -> Result<T, EngineError> {
        let path = self.folder.join(file);
        read(path.clone()).map_err(|error| EngineError::File { path, source: error.into() })
    }

    /// Returns the trusted authorities: the file's certificates, else the system's.
    pub(crate) fn tls(&self) -> Result<TlsConfig, EngineError> {
        let roots: Vec<Certificate<'static>> = match &self.tls_config.ca_file {
            Some(file) => certificates(&self.file(file, |path| files::read(&path, MAX_SETTINGS))?)
                .map_err(|source| EngineError::File { path: self.folder.join(file), source })?,
            // Certificates that cannot be read are skipped. If the engine needs one of them, the connection reports it.
            None => rustls_native_certs::load_native_certs()
                .certs
                .iter()
                .map(|certificate| Certificate::from_der(certificate).to_owned())
                .collect(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(provider)
            .build())
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, Box<dyn std::error::Error + Send + Sync>> {
    let items = parse_pem(pem).collect::<Result<Vec<_>, _>>()?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| if let PemItem::Certificate(certificate) = item { Some(certificate) } else { None })
        .collect();
    if certificates.is_empty() { Err("it holds no certificate in PEM".into()) } else { Ok(certificates) }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), EngineError> {
    let refused = || EngineError::Settings(format!("the header {name} has a name or a value that HTTP does not allow"));
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| refused())?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Returns where the error is, without the line itself, which may contain a secret.
fn shown(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
    format!("line {line}: {}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> Access {
        toml::from_str(text).unwrap()
    }

    fn sent(access: &Access) -> Vec<String> {
        let headers = access.request_headers().unwrap();
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn settings_become_headers() {
        let mut basic = access("[basic_auth]\nusername = \"me\"\npassword = \"secret\"\n");
        basic.header("X-Scope-OrgID: fleet").unwrap();
        assert_eq!(sent(&basic), ["x-scope-orgid: fleet", "authorization: Basic bWU6c2VjcmV0"]);
        assert_eq!(sent(&access("authorization.credentials = \"t\"")), ["authorization: Bearer t"]);
        assert_eq!(sent(&access("")), Vec::<String>::new());
    }

    #[test]
    fn invalid_headers_are_an_error() {
        for text in [
            "[basic_auth]\nusername = \"me\"",
            "[basic_auth]\nusername = \"me\"\npassword = \"a\"\npassword_file = \"b\"",
            "basic_auth = {username = \"me\", password = \"a\"}\nauthorization.credentials = \"b\"",
            "authorization.credentials = \"a\\nb\"",
            "headers.\"a b\" = \"c\"",
            "authorization.credentials_file = \"/nowhere/to/be/found\"",
        ] {
            assert!(access(text).request_headers().is_err(), "{text}");
        }
        assert!(Access::default().header("no colon").is_err());
        assert!(access("tls_config.ca_file = \"/nowhere/to/be/found\"").tls().is_err());
        assert!(certificates(b"no certificate").is_err());
    }

    #[test]
    fn error_does_not_contain_the_secret() {
        let text = "[basic_auth]\npassword = \"hush\"\n";
        let error = toml::from_str::<Access>(text).err().unwrap();
        let shown = shown(&error, text);
        assert!(!shown.contains("hush") && shown.starts_with("line "), "{shown}");
    }
}
