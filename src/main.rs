//! The `tidegate` program: reads the command line and hands over to one file per subcommand.

mod bench;
mod cert;
mod check;
mod cli;
mod config;
mod connect;
mod data;
mod dead;
#[cfg(unix)]
mod descriptors;
mod logging;
mod send;
mod serve;
mod store;
mod sub;
mod tail;
mod token;
mod traces;

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Parser as _;

use cli::{Cli, Command};
use config::{Config, Role};
use send::{Sending, Target};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else may ask for it: with a second provider in the tree rustls would panic on the choice.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return report(&anyhow!("a TLS provider is installed already"));
    }
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => start(Role::Serve, &cli.settings),
        Some(Command::Serve { settings }) => start(Role::Serve, &settings),
        Some(Command::Gateway { settings }) => start(Role::Gateway, &settings),
        Some(Command::Pipeline { settings }) => start(Role::Pipeline, &settings),
        Some(Command::Token(command)) => token::run(&command),
        Some(Command::Tail(command)) => client(Box::pin(tail::run(&command))),
        Some(Command::Send(cli::Send { connect, to, words })) => {
            let sending = Sending { connect: &connect, words: &words, target: Target::User(&to) };
            client(Box::pin(send::run(&sending)))
        }
        Some(Command::Sub(command)) => client(Box::pin(sub::run(&command))),
        Some(Command::Pub(cli::Pub { connect, channel, words })) => {
            let sending = Sending { connect: &connect, words: &words, target: Target::Channel(&channel) };
            client(Box::pin(send::run(&sending)))
        }
        Some(Command::Check(command)) => check::run(&command),
        Some(Command::Cert { command }) => cert::run(&command),
        Some(Command::Bench { command }) => bench::run(&command),
        Some(Command::Store { command }) => store::run(&command),
        Some(Command::Dead { command }) => dead::run(&command),
    }
}

fn start(role: Role, settings: &cli::Settings) -> anyhow::Result<()> {
    let config = Config::load_for(role, &settings.sources())?;
    logging::start(&config.log)?;
    // A pipeline keeps nothing on this machine.
    let _lock = role.has_gateway().then(|| data::Lock::take(&config.data)).transpose()?;
    #[cfg(unix)]
    descriptors::raise_limit(config.limits.max_connections);
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let traces = runtime.block_on(async { traces::Traces::start(&config.trace, role.name()) })?;
    let served = runtime.block_on(serve::run(&config, role));
    traces.stop();
    served
}

/// Runs a client's work on one thread.
fn client(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    let result = runtime.block_on(work);
    // A read of standard input that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    result
}

/// One line on standard error; 2 when the command or the configuration must change, otherwise 1.
fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("tidegate: {error:#}");
    let is_usage = error.chain().any(|cause| cause.is::<config::Error>());
    ExitCode::from(if is_usage { 2 } else { 1 })
}
