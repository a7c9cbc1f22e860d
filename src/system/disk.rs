//! How much room a disk has.

use std::io;
use std::path::Path;

/// Bytes that are free for programs that are not root's on the disk that `path` lies on; none where no file can be made any more.
/// May hang as long as the disk does.
///
/// # Errors
/// When there is no such path, or it may not be reached.
pub fn free(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    // Some file systems make room for files as they need it, and count none.
    let no_files = disk.f_files > 0 && disk.f_favail == 0;
    Ok(if no_files { 0 } else { disk.f_bavail.saturating_mul(disk.f_frsize) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_has_a_size_and_what_is_not_is_an_error() {
        assert!(free(Path::new("/")).is_ok());
        assert!(free(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap() > 0);
        assert_eq!(free(Path::new("/nowhere/at/all")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
