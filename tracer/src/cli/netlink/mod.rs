//! `droptrace netlink`: information about netlink on this host. Each command has a file.

mod crypto;
mod families;
mod family;
mod family_json;
mod listeners;
pub(super) mod table;
mod watch;
mod watched;

use anyhow::Result;

use super::args::NetlinkCommand;

/// Runs a command.
pub(super) async fn run(command: &NetlinkCommand) -> Result<()> {
    match command {
        NetlinkCommand::Families(args) => families::run(args).await,
        NetlinkCommand::Family(args) => family::run(args).await,
        NetlinkCommand::Crypto(args) => crypto::run(args).await,
        NetlinkCommand::Listeners(args) => listeners::run(args).await,
        NetlinkCommand::Watch(args) => watch::run(args).await,
    }
}
