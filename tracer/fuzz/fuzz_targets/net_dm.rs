//! What generic netlink and the drop monitor tell: a datagram of messages, each also read as every command.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::backend::net_dm::Message;
use tracer::netlink::wire;

fuzz_target!(|bytes: &[u8]| {
    for message in wire::messages(bytes).flatten() {
        let Ok((command, attributes)) = message.generic() else { continue };
        for command in [command, 1, 5, 7, 9] {
            let Ok((parsed, _)) = Message::parse(command, attributes) else { continue };
            match parsed {
                Message::Summary(alert) => {
                    assert!(alert.sites().count() <= attributes.len() / 12);
                    assert!(alert.traps().count() <= attributes.len() / 8);
                }
                Message::Packet(alert) => assert!(alert.payload.len() + alert.cookie.len() <= attributes.len()),
                Message::Config(_) | Message::Stats(_) | Message::Unknown(_) => {}
            }
        }
    }
});
