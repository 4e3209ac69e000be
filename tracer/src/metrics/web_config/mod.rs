//! Encryption and access control of scrapes: the file `web.config` that exporters of Prometheus share
//! (<https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>).
//!
//! Settings that droptrace does not support are an error, and never ignored.

mod tls;
mod users;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use tokio_rustls::TlsAcceptor;

pub(crate) use users::Users;

use crate::files::{self, MAX_SETTINGS};

/// The settings. By default all clients may scrape, in clear text.
#[derive(Clone, Default)]
pub(crate) struct WebConfig {
    /// The TLS configuration; `None` for clear text.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Whether clients need a certificate of a configured authority.
    pub(crate) asks_for_certificate: bool,
    /// The users who may scrape; `None` for all clients.
    pub(crate) users: Option<Arc<Users>>,
}

impl WebConfig {
    /// Reads the file, and the files that it names.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let of_file = || path.display().to_string();
        let text = files::read_text(path, MAX_SETTINGS).with_context(of_file)?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(""))).with_context(of_file)
    }

    /// Paths in the text are relative to `folder`.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self> {
        // Errors do not show lines of the text, because it may contain keys and hashes.
        let options = serde_saphyr::options! { with_snippet: false };
        let file: Option<File> = serde_saphyr::from_str_with_options(text, options)?;
        // An empty file may have been truncated, and would admit every client.
        let file = file.context("the file is empty: omit --web-config if no protection is needed")?;
        let File { tls_server_config, http_server_config, basic_auth_users, rate_limit } = file;
        refuse("rate_limit", rate_limit.as_ref())?;
        refuse("http_server_config: headers", http_server_config.and_then(|http| http.headers).as_ref())?;
        let tls = tls_server_config.map(|tls| tls::acceptor(tls, folder).context("tls_server_config"));
        ensure!(
            basic_auth_users.as_ref().is_none_or(|users| !users.is_empty()),
            "basic_auth_users is empty: omit it if everybody may scrape"
        );
        let users = basic_auth_users.map(|users| Users::new(users).context("basic_auth_users"));
        let (tls, asks_for_certificate) = tls.transpose()?.unzip();
        let users = users.transpose()?.map(Arc::new);
        Ok(Self { tls, asks_for_certificate: asks_for_certificate.unwrap_or_default(), users })
    }

    /// The protections of `before` that are missing here: the file may have been truncated.
    pub(crate) fn lost_since(&self, before: &Self) -> Option<&'static str> {
        if before.users.is_some() && self.users.is_none() {
            Some("basic_auth_users")
        } else if before.asks_for_certificate && !self.asks_for_certificate {
            Some("client_auth_type")
        } else if before.tls.is_some() && self.tls.is_none() {
            Some("tls_server_config")
        } else {
            None
        }
    }
}

/// Settings of the format that droptrace does not support.
fn refuse<T>(what: &str, given: Option<&T>) -> Result<()> {
    match given {
        Some(_) => bail!("{what} is not supported by droptrace: remove it, or use a proxy that supports it"),
        None => Ok(()),
    }
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "section")]
    tls_server_config: Option<tls::Section>,
    #[serde(default, deserialize_with = "section")]
    http_server_config: Option<Http>,
    #[serde(default, deserialize_with = "section")]
    basic_auth_users: Option<BTreeMap<String, String>>,
    rate_limit: Option<IgnoredAny>,
}

/// A section with a name has content: otherwise the file was truncated there, and its settings would be lost.
fn section<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    /// The setting only permits HTTP/2. droptrace always uses HTTP/1.1.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<IgnoredAny>,
}

#[cfg(test)]
mod tests;
