//! What a running daemon cannot take on anew.

use super::validated::{Api, Config, Daemon, Log};

impl Config {
    /// The keys whose change needs a restart and that differ in `other`, as the file spells them.
    pub fn fixed_keys_changed(&self, other: &Self) -> Vec<String> {
        // Named one by one, so that a new key has to be thought about here.
        let Self {
            daemon,
            hosts,
            api,
            discovery: _,
            defaults: _,
            fleet: _,
            disk_full: _,
            services: _,
            vault,
            credentials,
            maintenance: _,
            reporters: _,
            inherited: _,
        } = self;
        // The last two come from the environment, which does not change while the daemon runs.
        let Daemon { data_dir, socket, log, shutdown_grace, history } = daemon;
        let Log { level: _, format, file } = log;
        let Api { listen } = api;
        let mut changed = Vec::new();
        let mut differs = |is: bool, key: &str| changed.extend(is.then(|| key.to_owned()));
        differs(*data_dir != other.daemon.data_dir, "daemon.data_dir");
        differs(*socket != other.daemon.socket, "daemon.socket");
        differs(*format != other.daemon.log.format, "daemon.log.format");
        differs(*file != other.daemon.log.file, "daemon.log.file");
        differs(*shutdown_grace != other.daemon.shutdown_grace, "daemon.shutdown_grace");
        differs(*history != other.daemon.history, "daemon.history");
        let gone = hosts.iter().filter(|host| !other.hosts.contains(host));
        let new = other.hosts.iter().filter(|host| !hosts.contains(host));
        let mut names: Vec<&str> = gone.chain(new).map(|host| host.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in &names {
            differs(true, &format!("hosts.{name}"));
        }
        differs(names.is_empty() && *hosts != other.hosts, "the order of hosts");
        differs(*listen != other.api.listen, "api.listen");
        differs(*vault != other.vault, "vault");
        let gone = credentials.iter().filter(|credential| !other.credentials.contains(credential));
        let new = other.credentials.iter().filter(|credential| !credentials.contains(credential));
        let mut names: Vec<&str> = gone.chain(new).map(|credential| &*credential.name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            differs(true, &format!("credentials.{name}"));
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{decode, validated::Config};

    fn config(text: &str) -> Config {
        decode("iaso.toml", text, &|_| None).unwrap()
    }

    #[test]
    fn each_key_that_is_fixed_is_named_and_no_other() {
        let before = config("[hosts.local]\nurl = 'unix:///a'\n[hosts.nas]\nurl = 'tcp://127.0.0.1:2375'\n");
        assert_eq!(before.fixed_keys_changed(&before), Vec::<String>::new());
        let all = config(
            "[daemon]\ndata_dir = '/d'\nsocket = '/s'\nshutdown_grace = '9s'\nhistory = { keep = '1d' }\nlog = { format = 'text', level = 'warn', file = '/l' }\n\
             [hosts.local]\nurl = 'unix:///a'\n[hosts.nas]\nurl = 'tcp://127.0.0.1:2376'\n[hosts.new]\nurl = 'unix:///n'\n\
             [api]\nlisten = '127.0.0.1:1'\n[defaults]\ninterval = '7s'\n[discovery]\nenabled = false\n\
             [recovery]\nmax_concurrent = 1\n[services.web]\nhost = 'local'\ncontainer = 'web'\n",
        );
        let named = [
            "daemon.data_dir",
            "daemon.socket",
            "daemon.log.format",
            "daemon.log.file",
            "daemon.shutdown_grace",
            "daemon.history",
            "hosts.nas",
            "hosts.new",
            "api.listen",
        ];
        assert_eq!(before.fixed_keys_changed(&all), named);
        let swapped = config("[hosts.nas]\nurl = 'tcp://127.0.0.1:2375'\n[hosts.local]\nurl = 'unix:///a'\n");
        assert_eq!(before.fixed_keys_changed(&swapped), ["the order of hosts"]);
        let with = |vault: &str, path: &str| {
            let auth = "auth = { type = 'token', token_file = '/t' }";
            let api = format!("[credentials.api]\ntype = 'file'\npath = '{path}'\n");
            config(&format!(
                "[vault]\naddress = '{vault}'\n{auth}\n{api}[credentials.key]\ntype = 'file'\npath = '/k'\n"
            ))
        };
        let before = with("https://a", "/a");
        assert_eq!(before.fixed_keys_changed(&with("https://b", "/a")), ["vault"]);
        assert_eq!(before.fixed_keys_changed(&with("https://a", "/b")), ["credentials.api"]);
        assert_eq!(before.fixed_keys_changed(&with("https://a", "/a")), Vec::<String>::new());
    }
}
