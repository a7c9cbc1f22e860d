use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config::secret::Secret;

fn sealer() -> (Sealer, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Sealer::open(dir.path()).unwrap(), dir)
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

#[test]
fn the_key_is_made_once_and_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("not/there/yet");
    let sealed = Sealer::open(&data).unwrap().seal("db", b"x");
    let file = data.join(KEY_FILE);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("iaso-credentials-key 1 ") && text.len() == KEY_TITLE.len() + 44 + 1, "{}", text.len());
    assert_eq!(*Sealer::open(&data).unwrap().unseal("db", &sealed).unwrap(), b"x");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_key_that_others_may_read_or_that_is_none_is_refused_and_left() {
    let (_, dir) = sealer();
    let file = dir.path().join(KEY_FILE);
    let before = fs::read(&file).unwrap();
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(Sealer::open(dir.path()), Err(SealError::Exposed(_))), "{mode:o}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    for text in ["", "iaso-credentials-key 1 \n", "iaso-credentials-key 1 AAAA\n", "iaso-credentials-key 2 AAAA", "\0"]
    {
        fs::write(&file, text).unwrap();
        let error = Sealer::open(dir.path()).unwrap_err();
        assert!(matches!(error, SealError::Damaged(_)), "{text:?}: {error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, before).unwrap();
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert!(matches!(Sealer::open(dir.path()), Err(SealError::Exposed(_))));
}

#[test]
fn a_data_directory_may_be_a_link() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
    Sealer::open(&dir.path().join("link")).unwrap();
    assert!(dir.path().join("real").join(KEY_FILE).is_file());
}

#[test]
fn another_machine_opens_nothing_and_has_other_digests() {
    let ((ours, _a), (theirs, _b)) = (sealer(), sealer());
    let sealed = ours.seal("db", b"secret");
    assert_eq!(theirs.unseal("db", &sealed).unwrap_err(), Unsealable::ForeignKey);
    assert_eq!(ours.unseal("web", &sealed).unwrap_err(), Unsealable::Damaged);
    let fields = fields(&[("value", "secret")]);
    assert_ne!(ours.digest(&fields), theirs.digest(&fields));
    assert_eq!(format!("{ours:?}"), "Sealer");
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let (sealer, _dir) = sealer();
    let mut sealed = sealer.seal("db", b"secret");
    assert!(!sealed.windows(6).any(|part| part == b"secret"));
    sealed[TITLE.len()] = b'2';
    assert_eq!(sealer.unseal("db", &sealed).unwrap_err(), Unsealable::Newer);
    assert_eq!(sealer.unseal("db", b"").unwrap_err(), Unsealable::Damaged);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_sealed_opens_again_and_no_bit_of_it_may_change(
        name in "[a-z]{1,8}", plain in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let (sealer, _dir) = sealer();
        let mut sealed = sealer.seal(&name, &plain);
        prop_assert_eq!(&*sealer.unseal(&name, &sealed).unwrap(), &plain);
        prop_assert_ne!(&sealer.seal(&name, &plain), &sealed);
        prop_assert!(sealer.unseal(&name, &sealed[..at.index(sealed.len())]).is_err());
        let at = at.index(sealed.len());
        sealed[at] ^= 1 << bit;
        prop_assert!(sealer.unseal(&name, &sealed).is_err());
    }

    #[test]
    fn digests_are_equal_for_equal_fields_alone(
        left in proptest::collection::btree_map("[ab]{0,2}", "[ab]{0,2}", 0..3),
        right in proptest::collection::btree_map("[ab]{0,2}", "[ab]{0,2}", 0..3),
    ) {
        static SEALER: std::sync::LazyLock<(Sealer, TempDir)> = std::sync::LazyLock::new(sealer);
        let digest = |pairs: &std::collections::BTreeMap<String, String>| {
            SEALER.0.digest(&pairs.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect())
        };
        prop_assert_eq!(digest(&left) == digest(&right), left == right);
    }
}

#[test]
fn a_digest_tells_where_one_text_ends() {
    let (sealer, _dir) = sealer();
    assert_ne!(sealer.digest(&fields(&[("a", "bc")])), sealer.digest(&fields(&[("ab", "c")])));
    assert_ne!(sealer.digest(&fields(&[("a", "b"), ("c", "d")])), sealer.digest(&fields(&[("a", "bcd")])));
}
