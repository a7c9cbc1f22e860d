//! What only this machine may read again: blobs sealed with a key of its own, and digests that nobody can compare with
//! guesses.
//!
//! The key is a file in the data directory. Who has it, and the sealed files, has the values: it keeps them from backups of
//! single files, and from being moved, not from root. Several keys are derived from it, one for each use.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use iaso_policy::id::Digest;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hkdf, hmac};
use rustix::fs::OFlags;
use rustix::process::geteuid;
use secrecy::zeroize::Zeroizing;

use super::provider::Fields;
use super::render::{RenderError, write_private};
use crate::config::secret::Secret;

/// The key's file in the data directory.
const KEY_FILE: &str = "credentials.key";
/// Before the key in its file, which is base64 after it.
const KEY_TITLE: &str = "iaso-credentials-key 1 ";
const KEY_BYTES: usize = 32;
/// What every sealed blob begins with, and then its version.
const TITLE: &[u8] = b"iaso-sealed ";
const VERSION: &[u8] = b"1\n";
/// The part of a blob that tells which key sealed it.
const KEY_ID_BYTES: usize = 8;

/// Seals, opens, and makes digests. It holds the keys.
pub struct Sealer {
    blobs: LessSafeKey,
    digests: hmac::Key,
    key_id: [u8; KEY_ID_BYTES],
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file, or its folder, cannot be read or made.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Unwritable(#[from] RenderError),
    /// Others may read it, or own it.
    #[error("{0} is not Iaso's alone: expected a regular file of Iaso's own user or root, with mode 0600")]
    Exposed(PathBuf),
    /// It holds something else. What was sealed with it cannot be opened without it.
    #[error("{0} holds no key; put the right one back, or remove it and what is sealed with it")]
    Damaged(PathBuf),
}

/// Why a blob stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsealable {
    /// It was changed, cut short, or sealed under another name.
    #[error("it is damaged")]
    Damaged,
    /// It was sealed with another key.
    #[error("it was sealed with another key")]
    ForeignKey,
    /// A newer Iaso wrote it.
    #[error("a newer iaso wrote it")]
    Newer,
}

impl Sealer {
    /// Reads the key of this data directory, and makes one where there is none. It blocks on the disk.
    pub fn open(data_dir: &Path) -> Result<Self, SealError> {
        let path = data_dir.join(KEY_FILE);
        if let Some(key) = read(&path)? {
            return Ok(Self::derive(&key));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(|error| SealError::Io { path: data_dir.to_owned(), error })?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        fill(&mut *key);
        let text = Zeroizing::new(format!("{KEY_TITLE}{}\n", STANDARD.encode(*key)));
        write_private(&path, text.as_bytes())?;
        Ok(Self::derive(&key))
    }

    /// With a key of its own, which nobody has after it: for what need not outlive this run.
    pub fn of_this_run() -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        fill(&mut *key);
        Self::derive(&key)
    }

    fn derive(key: &[u8; KEY_BYTES]) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"iaso credentials").extract(key);
        // Only a length beyond 255 hashes is refused.
        let unrefused = "a key is no longer than the derivation allows";
        let blobs = UnboundKey::from(root.expand(&[b"blobs 1"], &CHACHA20_POLY1305).expect(unrefused));
        let digests = hmac::Key::from(root.expand(&[b"digests 1"], hmac::HMAC_SHA256).expect(unrefused));
        let names = hmac::Key::from(root.expand(&[b"key id 1"], hmac::HMAC_SHA256).expect(unrefused));
        let mut key_id = [0; KEY_ID_BYTES];
        key_id.copy_from_slice(&hmac::sign(&names, b"").as_ref()[..KEY_ID_BYTES]);
        Self { blobs: LessSafeKey::new(blobs), digests, key_id }
    }

    /// Closes a blob, which opens under the same name alone.
    ///
    /// # Panics
    /// When the operating system has no randomness, or for a blob of 256 GiB.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce);
        let mut body = plain.to_vec();
        let bound = Aad::from(self.bound(name));
        self.blobs
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut body)
            .expect("a blob is shorter than 256 GiB");
        [TITLE, VERSION, &self.key_id, &nonce, &body].concat()
    }

    /// Opens a blob that was sealed under this name.
    pub fn unseal(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let rest = sealed.strip_prefix(TITLE).ok_or(Unsealable::Damaged)?;
        let Some(rest) = rest.strip_prefix(VERSION) else {
            let newer = rest.first().is_some_and(u8::is_ascii_digit);
            return Err(if newer { Unsealable::Newer } else { Unsealable::Damaged });
        };
        let (key_id, rest) = rest.split_first_chunk().ok_or(Unsealable::Damaged)?;
        if *key_id != self.key_id {
            return Err(Unsealable::ForeignKey);
        }
        let (nonce, body) = rest.split_first_chunk().ok_or(Unsealable::Damaged)?;
        let mut body = Zeroizing::new(body.to_vec());
        let bound = Aad::from(self.bound(name));
        let opened = self.blobs.open_in_place(Nonce::assume_unique_for_key(*nonce), bound, &mut body);
        let length = opened.map_err(|_| Unsealable::Damaged)?.len();
        body.truncate(length);
        Ok(body)
    }

    /// What a blob cannot be taken apart from: its version, its key and its name.
    fn bound(&self, name: &str) -> Vec<u8> {
        [TITLE, VERSION, &self.key_id, name.as_bytes()].concat()
    }

    /// What a credential's fields are compared by. Equal fields have equal digests on this machine, and on no other.
    pub fn digest(&self, fields: &Fields) -> Digest {
        let mut context = hmac::Context::with_key(&self.digests);
        for part in fields.iter().flat_map(|(name, value)| [name.as_str(), value.expose()]) {
            // With its length before it, no part can pass for another's end.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let tag = context.sign();
        let first = tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Digest(u128::from_be_bytes(*first))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

/// What a token is known by: a hash, from which nobody finds what is as random as a token.
pub fn fingerprint(token: &Secret) -> String {
    STANDARD.encode(digest::digest(&digest::SHA256, token.expose().as_bytes()))
}

/// The key in the file; none without a file.
fn read(path: &Path) -> Result<Option<Zeroizing<[u8; KEY_BYTES]>>, SealError> {
    let failed = |error| SealError::Io { path: path.to_owned(), error };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let own = [0, geteuid().as_raw()].contains(&found.uid());
    if !found.is_file() || !own || found.mode() & 0o077 != 0 {
        return Err(SealError::Exposed(path.to_owned()));
    }
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let mut text = Zeroizing::new(Vec::with_capacity(256));
    file.take(256).read_to_end(&mut text).map_err(failed)?;
    let encoded = text.strip_prefix(KEY_TITLE.as_bytes()).map(<[u8]>::trim_ascii_end);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let length = encoded.and_then(|encoded| STANDARD.decode_slice(encoded, &mut *key).ok());
    if length != Some(KEY_BYTES) {
        return Err(SealError::Damaged(path.to_owned()));
    }
    Ok(Some(key))
}

fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).unwrap_or_else(|_| panic!("the operating system's random source does not answer"));
}

#[cfg(test)]
mod tests;
