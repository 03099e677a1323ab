//! Options that every command takes: which hub, which key, which form of output.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::EXIT_CODES;

/// Which hub to speak to, and how to print.
#[derive(Clone, Debug, Default, Args)]
pub struct HubOptions {
    /// Address of the hub; else the one in the data directory, else http://127.0.0.1:3233.
    #[arg(
        long,
        visible_alias = "apihost",
        global = true,
        value_name = "URL",
        env = "EVOKE_HOST",
        help_heading = HUB
    )]
    pub host: Option<String>,
    /// Key as `uuid:key`; else `credentials` of the data directory, else ~/.wskprops.
    #[arg(
        short = 'u',
        long,
        visible_alias = "auth",
        global = true,
        value_name = "UUID:KEY",
        env = "EVOKE_KEY",
        hide_env_values = true,
        help_heading = HUB
    )]
    pub key: Option<String>,
    /// Data directory of a hub on this machine; else ./data, then ~/.evoke.
    #[arg(long, global = true, value_name = "DIR", env = "EVOKE_DATA", help_heading = HUB)]
    pub data: Option<PathBuf>,
    /// Do not check the hub's certificate.
    #[arg(short = 'i', long, global = true, help_heading = HUB)]
    pub insecure: bool,
    /// Print JSON as the hub gives it.
    #[arg(long, global = true, help_heading = HUB)]
    pub json: bool,
}

/// Heading of these options.
pub(crate) const HUB: &str = "Hub and output";

/// A noun's commands with the options of their hub.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
pub struct On<C: Subcommand> {
    #[command(flatten)]
    pub(crate) hub: HubOptions,
    #[command(subcommand)]
    pub(crate) command: C,
}

/// A single command with the options of its hub.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct OnArgs<C: Args> {
    #[command(flatten)]
    pub(crate) hub: HubOptions,
    #[command(flatten)]
    pub(crate) command: C,
}
