//! What Vault and OpenBao promise over HTTP. Written from what those servers do, so that it holds the double to it: it runs
//! against the double in both flavours, and against a real server where `IASO_TEST_VAULT_ADDR` and `IASO_TEST_VAULT_TOKEN`
//! (of root) name one. Where the two servers differ, both answers pass, and no third.

mod auth;
mod kv;
mod leases;
mod server;
mod system;
mod tokens;
mod wrapping;

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use libtest_mimic::Trial;

use self::server::Server;
use crate::support::{Need, test};
use crate::vault::Flavour;
use crate::wait;

/// A promise, with its name.
type Promise = (&'static str, fn(&Server) -> LocalBoxFuture<'_, ()>);

/// Names each promise after its function.
macro_rules! promises {
    ($($name:ident),+ $(,)?) => {
        vec![$((concat!(module_path!(), "::", stringify!($name)), |server| Box::pin($name(server)))),+]
    };
}
use promises;

/// Against whom.
#[derive(Debug, Clone, Copy)]
enum Whom {
    Double(Flavour),
    Real,
}

pub fn tests() -> Vec<Trial> {
    let promises: Vec<Promise> = [
        auth::promises(),
        kv::promises(),
        leases::promises(),
        system::promises(),
        tokens::promises(),
        wrapping::promises(),
    ]
    .concat();
    let mut whom =
        vec![("openbao_double", Whom::Double(Flavour::OpenBao)), ("vault_double", Whom::Double(Flavour::Vault))];
    if Server::real().is_some() {
        whom.push(("real", Whom::Real));
    }
    let mut tests = Vec::new();
    for (prefix, whom) in whom {
        for (name, promise) in &promises {
            let (name, promise) = (name.rsplit("contract::").next().unwrap_or(name), *promise);
            tests.push(test(&format!("{prefix}::{name}"), &[Need::Nothing], move || {
                wait(keep(promise, whom));
                Ok(())
            }));
        }
    }
    tests
}

/// Runs one, and removes what it has made, however it ended.
async fn keep(promise: fn(&Server) -> LocalBoxFuture<'_, ()>, whom: Whom) {
    let server = match whom {
        Whom::Double(flavour) => Server::double(flavour).await,
        Whom::Real => Server::real().unwrap(),
    };
    let ended = AssertUnwindSafe(promise(&server)).catch_unwind().await;
    let left = server.clean().await;
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
    assert_eq!(left, Vec::<String>::new(), "it is removed");
}
