//! `droptrace netlink`: what netlink offers here. One file for each command.

mod crypto;
mod families;
mod family;
mod family_json;
mod listeners;
mod table;
mod watch;
mod watched;

use anyhow::Result;

use super::args::NetlinkCommand;

/// Shows what was asked for.
pub(super) async fn run(command: &NetlinkCommand) -> Result<()> {
    match command {
        NetlinkCommand::Families(args) => families::run(args).await,
        NetlinkCommand::Family(args) => family::run(args).await,
        NetlinkCommand::Crypto(args) => crypto::run(args).await,
        NetlinkCommand::Listeners(args) => listeners::run(args).await,
        NetlinkCommand::Watch(args) => watch::run(args).await,
    }
}
