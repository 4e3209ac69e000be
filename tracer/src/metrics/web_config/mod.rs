//! How scrapes are encrypted and who may scrape: the file `web.config` that exporters of Prometheus share
//! (<https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>).
//!
//! What it may hold and is not done here is an error, and never passed over.

mod tls;
mod users;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use tokio_rustls::TlsAcceptor;

pub use users::Users;

use crate::files::{self, MAX_SETTINGS};

/// What was asked for. By default all may scrape, and see it in clear text.
#[derive(Clone, Default)]
pub struct WebConfig {
    /// Encrypts; none for clear text.
    pub tls: Option<TlsAcceptor>,
    /// Only those may scrape who have a certificate of an authority that is named.
    pub asks_for_certificate: bool,
    /// Those who may scrape; none for all.
    pub users: Option<Arc<Users>>,
}

impl WebConfig {
    /// Reads the file, and those that it names.
    pub fn read(path: &Path) -> Result<Self> {
        let of_file = || path.display().to_string();
        let text = files::read_text(path, MAX_SETTINGS).with_context(of_file)?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(""))).with_context(of_file)
    }

    /// Files are named from `folder` on.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self> {
        // Errors show no lines of the text, for it may hold keys and hashes.
        let options = serde_saphyr::options! { with_snippet: false };
        let file: Option<File> = serde_saphyr::from_str_with_options(text, options)?;
        // What is empty may have been cut, and would let in everybody.
        let file = file.context("it is empty: leave --web-config out where nothing is to be protected")?;
        let File { tls_server_config, http_server_config, basic_auth_users, rate_limit } = file;
        refuse("rate_limit", rate_limit.as_ref())?;
        refuse("http_server_config: headers", http_server_config.and_then(|http| http.headers).as_ref())?;
        let tls = tls_server_config.map(|tls| tls::acceptor(tls, folder).context("tls_server_config"));
        ensure!(
            basic_auth_users.as_ref().is_none_or(|users| !users.is_empty()),
            "basic_auth_users is empty: leave it out where everybody may scrape"
        );
        let users = basic_auth_users.map(|users| Users::new(users).context("basic_auth_users"));
        let (tls, asks_for_certificate) = tls.transpose()?.unzip();
        let users = users.transpose()?.map(Arc::new);
        Ok(Self { tls, asks_for_certificate: asks_for_certificate.unwrap_or_default(), users })
    }

    /// What protects by `before`, and no longer does by this: it may have been cut.
    pub fn lost_since(&self, before: &Self) -> Option<&'static str> {
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

/// What is in the format, but not done here.
fn refuse<T>(what: &str, given: Option<&T>) -> Result<()> {
    match given {
        Some(_) => bail!("{what} is not supported by droptrace: remove it, or put a proxy that does it in front"),
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

/// A section that is named has something in it: else the file was cut there, and what it asks for would be left out.
fn section<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    /// That it may be used asks for nothing: HTTP/1.1 is what is spoken.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: Option<IgnoredAny>,
}

#[cfg(test)]
mod tests;
