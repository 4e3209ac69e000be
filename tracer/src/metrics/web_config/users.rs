//! Access control of scrapes: `basic_auth_users`, with names and bcrypt hashes of passwords.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The hash that an unknown user's password is compared with, so that the time of an answer does not reveal which names
/// exist. A matching password is not accepted.
const NOBODY: &str = "$2y$10$abcdefghijklmnopqrstuuZNg4EZ6LZT6jWBZAb.WrRVV7lxjBWTe";

/// The accepted costs of a hash: with higher costs, each wrong password takes seconds of a CPU.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;

/// The most remembered passwords. Only right ones are remembered, so that guessing displaces none of them.
const REMEMBERED: usize = 128;

/// The users who may scrape.
pub(crate) struct Users {
    hashes: BTreeMap<String, String>,
    /// The key of the hashes by which passwords are remembered, instead of in clear text.
    secret: hmac::Key,
    remembered: Mutex<HashSet<Vec<u8>>>,
    /// Comparisons are slow on purpose. Only one runs at a time, so that a client that guesses passwords uses no more
    /// than one CPU.
    turn: Semaphore,
}

impl Users {
    /// Checks the hashes.
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Result<Self> {
        for (user, hash) in &hashes {
            let parts: HashParts = hash.parse().with_context(|| format!("{user}: not a bcrypt hash"))?;
            ensure!(
                COSTS.contains(&parts.get_cost()),
                "{user}: a bcrypt hash of cost {}; {} to {} are accepted",
                parts.get_cost(),
                COSTS.start(),
                COSTS.end()
            );
        }
        let random = SystemRandom::new();
        let secret =
            hmac::Key::generate(hmac::HMAC_SHA256, &random).ok().context("the system has no random numbers")?;
        Ok(Self { hashes, secret, remembered: Mutex::default(), turn: Semaphore::new(1) })
    }

    /// Returns whether the header `Authorization` belongs to a user who may scrape.
    pub(crate) async fn admit(&self, authorization: Option<&[u8]>) -> bool {
        match authorization.and_then(credentials) {
            Some((user, password)) => self.knows(&user, password).await,
            None => false,
        }
    }

    async fn knows(&self, user: &str, password: Vec<u8>) -> bool {
        let hash = self.hashes.get(user);
        let is_user = hash.is_some();
        let hash = hash.map_or(NOBODY, String::as_str).to_owned();
        let key = self.key(user, &hash, &password);
        if self.remembers(&key) {
            return true;
        }
        let Ok(_turn) = self.turn.acquire().await else { return false };
        // Another request may have checked the same password in the meantime.
        if self.remembers(&key) {
            return true;
        }
        let compared = spawn_blocking(move || bcrypt::verify(password, &hash)).await;
        let fits = is_user && matches!(compared, Ok(Ok(true)));
        if fits {
            self.remember(key);
        }
        fits
    }

    fn key(&self, user: &str, hash: &str, password: &[u8]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.secret);
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }

    fn remembers(&self, key: &[u8]) -> bool {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    fn remember(&self, key: Vec<u8>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        // One user has as many passwords as agree in the 72 bytes that bcrypt uses.
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key);
    }
}

/// Name and password of `Basic …`.
fn credentials(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((user, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of `secret`, at the lowest cost.
    fn users() -> Users {
        let hash = bcrypt::hash("secret", 4).unwrap();
        Users::new([("alice".to_owned(), hash)].into()).unwrap()
    }

    fn header(credentials: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(credentials)).into_bytes()
    }

    async fn admit(users: &Users, credentials: &str) -> bool {
        users.admit(Some(&header(credentials))).await
    }

    #[tokio::test]
    async fn only_who_is_in_the_list_and_knows_the_password_may() {
        let users = users();
        // Each password is tried twice, because right passwords are remembered.
        for _ in 0..2 {
            assert!(admit(&users, "alice:secret").await);
            for wrong in ["alice:Secret", "alice:", "bob:secret", ":secret", "alice", "", "alice:secret:"] {
                assert!(!admit(&users, wrong).await, "{wrong}");
            }
        }
        assert!(!users.admit(None).await);
    }

    #[tokio::test]
    async fn headers_that_make_no_sense_are_refused() {
        let users = users();
        for header in [&b"Basic"[..], b"Basic ", b"Basic ====", b"Bearer YWxpY2U6c2VjcmV0", b"\xff\xfe", b"Basic \xff"]
        {
            assert!(!users.admit(Some(header)).await, "{header:?}");
        }
        let lower = [b"basic ".to_vec(), STANDARD.encode("alice:secret").into_bytes()].concat();
        assert!(users.admit(Some(&lower)).await);
    }

    #[tokio::test]
    async fn only_so_many_right_passwords_are_remembered() {
        let users = users();
        assert!(!admit(&users, "alice:wrong").await);
        assert_eq!(users.remembered.lock().unwrap().len(), 0);
        assert!(admit(&users, "alice:secret").await);
        for number in 1..=REMEMBERED {
            users.remember(vec![u8::try_from(number).unwrap()]);
        }
        assert_eq!(users.remembered.lock().unwrap().len(), 1);
    }

    #[test]
    fn unknown_users_are_compared_with_a_hash_as_any() {
        assert_eq!(NOBODY.parse::<HashParts>().unwrap().get_cost(), 10);
    }

    #[test]
    fn hashes_that_could_not_be_compared_are_refused() {
        for (hash, word) in [
            ("secret", "not a bcrypt hash"),
            ("", "not a bcrypt hash"),
            ("$2y$31$abcdefghijklmnopqrstuuZNg4EZ6LZT6jWBZAb.WrRVV7lxjBWTe", "cost 31; 4 to 15"),
        ] {
            let error = Users::new([("alice".to_owned(), hash.to_owned())].into()).err().unwrap();
            let text = format!("{error:#}");
            assert!(text.contains(word) && text.contains("alice"), "{text}");
        }
    }
}
