//! What `droptrace netlink` reads: families, policies, algorithms, and messages of any family.
#![no_main]

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use tracer::netlink::crypto::Algorithm;
use tracer::netlink::{Decoder, Details, Policies, Reply, wire};

/// More than a policy may be deep, so that one that is within itself would show.
const DEEP: usize = 32;

fuzz_target!(|bytes: &[u8]| {
    let mut policies = Policies::default();
    let mut families = Vec::new();
    for message in wire::messages(bytes).flatten() {
        if let Ok(algorithm) = Algorithm::parse(message.payload) {
            assert!(algorithm.skipped_attributes as usize <= message.payload.len());
        }
        let Ok((command, attributes)) = message.generic() else { continue };
        let reply = Reply { command, attributes };
        // What came before the part that makes no sense stays.
        let _ = policies.take(&reply);
        families.extend(Details::parse(&reply));
        for family in &families {
            let decoder =
                Decoder { family: &family.family.name, policies: Some(&policies), header_size: family.header_size };
            let lines = decoder.lines(attributes);
            assert!(lines.iter().all(|(depth, _)| *depth < DEEP) && lines.len() <= attributes.len() / 4 + 1);
        }
    }
    for family in &families {
        policies.number(&family.operations);
        for operation in &family.operations {
            let roots = policies.roots(*operation);
            for root in [roots.does, roots.dumps].into_iter().flatten() {
                let _ = policies.walk(root, |_| Ok::<_, Infallible>(()));
            }
        }
    }
});
