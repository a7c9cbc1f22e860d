//! What `Cargo.lock` may hold: rustls over ring alone, and one copy of each crate that a second copy would split in two.

/// Other TLS and crypto libraries: C code to build and to patch, and a second set of certificates and rules.
const BANNED: [&str; 4] = ["aws-lc-sys", "native-tls", "openssl", "openssl-sys"];

/// Two versions of these would not share types, connections or the choice of the crypto provider.
const SINGLE: [&str; 4] = ["hyper", "reqwest", "rustls", "tokio"];

/// Each package that `lock` may not hold, or not twice.
pub(crate) fn violations(lock: &str) -> Vec<String> {
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    let packages = lock.get("package").and_then(toml::Value::as_array).expect("Cargo.lock lists packages");
    let versions = |wanted: &str| -> Vec<&str> {
        let named = packages.iter().filter(|package| package.get("name").and_then(toml::Value::as_str) == Some(wanted));
        named.filter_map(|package| package.get("version").and_then(toml::Value::as_str)).collect()
    };
    let mut found = Vec::new();
    for name in BANNED {
        found.extend(
            versions(name).iter().map(|version| format!("Cargo.lock: {name} {version} may not be in the tree")),
        );
    }
    for name in SINGLE {
        let versions = versions(name);
        if versions.len() != 1 {
            found.push(format!("Cargo.lock: one version of {name} is wanted, found [{}]", versions.join(", ")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str)]) -> Vec<String> {
        let package =
            |(name, version): &(&str, &str)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        violations(&packages.iter().map(package).collect::<String>())
    }

    const GOOD: [(&str, &str); 4] =
        [("hyper", "1.12.0"), ("reqwest", "0.13.5"), ("rustls", "0.23.46"), ("tokio", "1.54.0")];

    #[test]
    fn banned_doubled_and_missing_packages_are_found() {
        assert_eq!(lock(&GOOD), Vec::<String>::new());
        assert_eq!(lock(&[&GOOD[..], &[("openssl-sys", "0.9.1")]].concat()).len(), 1);
        assert_eq!(lock(&[&GOOD[..], &[("aws-lc-sys", "0.30.0")]].concat()).len(), 1);
        assert_eq!(lock(&[&GOOD[..], &[("hyper", "0.14.0")]].concat()).len(), 1);
        assert_eq!(lock(&GOOD[1..]).len(), 1);
    }
}
