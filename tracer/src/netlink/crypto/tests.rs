use proptest::prelude::*;

use super::*;

fn name(text: &str) -> [u8; NAME] {
    let mut bytes = [0; NAME];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

/// The bytes after the header of a message: names, type and mask (0), reference count, flags.
fn header(names: [&str; 3], references: u32, flags: u32) -> Vec<u8> {
    let mut bytes = names.map(name).concat();
    bytes.extend([0, 0, references, flags].iter().flat_map(|number| number.to_ne_bytes()));
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(wire::align(bytes.len()), 0);
    bytes
}

fn report(names: &[&str], numbers: &[u32]) -> Vec<u8> {
    let mut bytes: Vec<u8> = names.iter().flat_map(|text| name(text)).collect();
    bytes.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
    bytes
}

fn priority(priority: i32) -> Vec<u8> {
    attribute(1, &priority.to_ne_bytes())
}

/// The algorithm `rfc4106(gcm(aes))` as a kernel with AES-NI reports it.
fn aead() -> Vec<u8> {
    let header = header(["rfc4106(gcm(aes))", "rfc4106-gcm-aesni", "aesni_intel"], 2, 0x2483);
    [header, priority(400), attribute(5, &report(&["aead", "<none>"], &[1, 16, 8]))].concat()
}

/// An algorithm of each kind, for tests of the output.
pub(crate) fn algorithms() -> Vec<Algorithm> {
    let of = |names: [&str; 3], references, flags, rank, kind, report: &[u8]| {
        let bytes = [header(names, references, flags), priority(rank), attribute(kind, report)].concat();
        Algorithm::parse(&bytes).unwrap()
    };
    let sizes = |numbers: &[u32]| report(&["shash"], numbers);
    vec![
        of(["sha256", "sha256-generic", "kernel"], 1, 0x40e, 100, 3, &sizes(&[64, 32])),
        of(["sha256", "sha256-ni", "sha256_ssse3"], 3, 0x40e, 250, 3, &sizes(&[64, 32])),
        of(["aes", "aes-generic", "kernel"], 1, 0x401, 100, 8, &report(&["cipher"], &[16, 16, 32])),
        of(["cbc(aes)", "cbc(aes-generic)", "cbc"], 1, 0xc05, 100, 4, &report(&["skcipher", ""], &[16, 16, 32, 16])),
        Algorithm::parse(&aead()).unwrap(),
        of(["stdrng", "drbg_nopr_hmac_sha512", "drbg"], 2, 0x40c, 221, 7, &report(&["rng"], &[0])),
        of(["deflate", "deflate-scomp", "deflate"], 1, 0x40b, 0, 6, &report(&["scomp"], &[])),
        of(["rsa", "rsa-gen\x1b[2J", "kernel"], 1, 0x6, -1, 9, &report(&["akcipher"], &[])),
        of(["ecdsa-nist-p256", "ecdsa-nist-p256-generic", "kernel"], 1, 0x407, 100, 22, &report(&["sig"], &[])),
        of(["__cbc(aes)", "cryptd(__cbc)", "cryptd"], 1, 0x2c85, 50, 4, &report(&["skcipher", ""], &[16, 16, 32, 16])),
        of(["lz4", "lz4", "kernel"], 2, 0x1a, 0, 2, &report(&["larval"], &[])),
    ]
}

#[test]
fn an_algorithm_and_its_sizes() {
    let found = Algorithm::parse(&aead()).unwrap();
    assert_eq!(
        (&*found.name, &*found.driver, &*found.module),
        ("rfc4106(gcm(aes))", "rfc4106-gcm-aesni", "aesni_intel")
    );
    assert_eq!((found.priority, found.references, found.kind.as_deref()), (400, 2, Some("aead")));
    let traits = Traits {
        block_size: Some(1),
        max_auth_size: Some(16),
        iv_size: Some(8),
        iv_generator: Some("<none>".to_owned()),
        ..Traits::default()
    };
    assert_eq!(found.traits, traits);
    assert!(found.flags.has(Flags::TESTED) && found.flags.has(Flags::ASYNC) && !found.flags.has(Flags::LARVAL));
    assert_eq!(found.skipped_attributes, 0);
}

#[test]
fn sizes_of_each_kind() {
    let traits = |name: &str| {
        let found = algorithms().into_iter().find(|found| found.driver == name).unwrap();
        let Traits { digest_size, block_size, min_key_size, max_key_size, iv_size, seed_size, .. } = found.traits;
        [digest_size, block_size, min_key_size, max_key_size, iv_size, seed_size]
    };
    assert_eq!(traits("sha256-ni"), [Some(32), Some(64), None, None, None, None]);
    assert_eq!(traits("aes-generic"), [None, Some(16), Some(16), Some(32), None, None]);
    assert_eq!(traits("cbc(aes-generic)"), [None, Some(16), Some(16), Some(32), Some(16), None]);
    assert_eq!(traits("drbg_nopr_hmac_sha512"), [None, None, None, None, None, Some(0)]);
    assert_eq!(traits("deflate-scomp"), [None; 6]);
}

#[test]
fn appended_fields_and_attributes_are_no_error() {
    let longer = report(&["shash"], &[64, 32, 7]);
    let bytes = [header(["a", "b", "c"], 1, 0), attribute(99, &[1, 2]), attribute(3, &longer), attribute(23, &[])];
    let found = Algorithm::parse(&bytes.concat()).unwrap();
    assert_eq!((found.traits.digest_size, found.skipped_attributes), (Some(32), 2));
}

#[test]
fn a_name_without_an_end() {
    let mut bytes = header(["", "b", "c"], 1, 0);
    bytes[..NAME].fill(b'x');
    let found = Algorithm::parse(&bytes).unwrap();
    assert_eq!((found.name.len(), &*found.driver, found.kind), (NAME, "b", None));
}

#[test]
fn truncated_algorithm_is_malformed_or_whole() {
    let whole = aead();
    // A message is complete after the header, and after the first attribute.
    let wholes = [HEADER, HEADER + 8, whole.len()];
    for length in 0..whole.len() {
        let is_whole = Algorithm::parse(&whole[..length]).is_ok();
        assert_eq!(is_whole, wholes.contains(&length), "{length}");
    }
    // The message ends within an attribute whose length matches.
    for length in 0..NAME + 8 {
        let cut = [header(["a", "b", "c"], 1, 0), attribute(3, &report(&["shash"], &[64, 32])[..length])].concat();
        assert_eq!(Algorithm::parse(&cut), Err(SHORT), "{length}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..256), cut in 0_usize..=400) {
        let whole = aead();
        _ = Algorithm::parse(&bytes);
        _ = Algorithm::parse(&[&whole[..cut.min(whole.len())], &bytes].concat());
    }
}
