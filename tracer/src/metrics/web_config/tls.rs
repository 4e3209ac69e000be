//! Encryption: `tls_server_config`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio_rustls::TlsAcceptor;

use super::refuse;
use crate::files::{self, MAX_SETTINGS};

/// The settings of the section.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    cert: Option<String>,
    cert_file: Option<PathBuf>,
    key: Option<String>,
    key_file: Option<PathBuf>,
    client_ca: Option<String>,
    client_ca_file: Option<PathBuf>,
    #[serde(default)]
    client_auth_type: ClientAuth,
    #[serde(default = "oldest")]
    min_version: Version,
    #[serde(default = "newest")]
    max_version: Version,
    client_allowed_sans: Option<IgnoredAny>,
    cipher_suites: Option<IgnoredAny>,
    curve_preferences: Option<IgnoredAny>,
    /// Go's servers ignore this setting as well.
    #[serde(rename = "prefer_server_cipher_suites")]
    _prefer_server_cipher_suites: Option<bool>,
}

/// The names of Go (`crypto/tls`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum ClientAuth {
    #[default]
    #[serde(alias = "")]
    NoClientCert,
    RequestClientCert,
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Version {
    #[serde(rename = "TLS10")]
    Tls10,
    #[serde(rename = "TLS11")]
    Tls11,
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

const fn oldest() -> Version {
    Version::Tls12
}

const fn newest() -> Version {
    Version::Tls13
}

/// The TLS configuration, and whether it admits only clients with a certificate.
pub(super) fn acceptor(file: Section, folder: &Path) -> Result<(TlsAcceptor, bool)> {
    refuse("client_allowed_sans", file.client_allowed_sans.as_ref())?;
    refuse("cipher_suites", file.cipher_suites.as_ref())?;
    refuse("curve_preferences", file.curve_preferences.as_ref())?;
    let provider = Arc::new(ring::default_provider());
    let versions = versions(file.min_version, file.max_version)?;
    let certificate = pem("cert", file.cert, file.cert_file, folder)?;
    let key = pem("key", file.key, file.key_file, folder)?;
    let (Some((certificate, from)), Some((key, key_from))) = (certificate, key) else {
        bail!("cert_file and key_file are both needed");
    };
    let chain = certificates(&certificate).with_context(|| from.clone())?;
    let key = PrivateKeyDer::from_pem_slice(&key).context("it holds no private key").context(key_from)?;
    let authorities = pem("client_ca", file.client_ca, file.client_ca_file, folder)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions)?;
    let asks_for_certificate = file.client_auth_type == ClientAuth::RequireAndVerifyClientCert;
    let builder = match client_verifier(file.client_auth_type, authorities, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).with_context(|| format!("{from} and its key"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), asks_for_certificate))
}

fn versions(min: Version, max: Version) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let all = [(Version::Tls12, &TLS12), (Version::Tls13, &TLS13)];
    let within = all.into_iter().filter(|(version, _)| (min..=max).contains(version));
    let versions: Vec<_> = within.map(|(_, version)| version).collect();
    ensure!(!versions.is_empty(), "min_version and max_version exclude both supported versions, TLS12 and TLS13");
    ensure!(min >= Version::Tls12, "min_version: versions before TLS12 are not safe, and not supported");
    Ok(versions)
}

/// A text that is given directly or through a file, and its origin.
fn pem(name: &str, inline: Option<String>, file: Option<PathBuf>, folder: &Path) -> Result<Option<(Vec<u8>, String)>> {
    let file = file.filter(|path| !path.as_os_str().is_empty());
    match (inline.filter(|text| !text.is_empty()), file) {
        (Some(_), Some(_)) => bail!("{name} and {name}_file exclude one another"),
        (Some(text), None) => Ok(Some((text.into_bytes(), name.to_owned()))),
        (None, Some(path)) => {
            let path = folder.join(path);
            let from = format!("{name}_file {}", path.display());
            let text = files::read(&path, MAX_SETTINGS).with_context(|| from.clone())?;
            Ok(Some((text, from)))
        }
        (None, None) => Ok(None),
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()?;
    ensure!(!certificates.is_empty(), "it holds no certificate");
    Ok(certificates)
}

fn client_verifier(
    auth: ClientAuth,
    authorities: Option<(Vec<u8>, String)>,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>> {
    let is_optional = match auth {
        ClientAuth::NoClientCert => {
            ensure!(authorities.is_none(), "client_ca_file is given, but client_auth_type asks for no certificates");
            return Ok(None);
        }
        ClientAuth::RequestClientCert | ClientAuth::RequireAnyClientCert => {
            bail!("client_auth_type: a type without verification is not supported; use RequireAndVerifyClientCert")
        }
        ClientAuth::VerifyClientCertIfGiven => true,
        ClientAuth::RequireAndVerifyClientCert => false,
    };
    let (text, from) = authorities.context("client_auth_type needs client_ca_file")?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&text).with_context(|| from.clone())? {
        roots.add(certificate).with_context(|| from.clone())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    Ok(Some(builder.build().context(from)?))
}
