//! An image made of one executable: the file, the shared objects it needs, its interpreter, and nothing else. Nothing is
//! pulled; the engine needs no network.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use elf::ElfBytes;
use elf::abi::{DT_NEEDED, PT_INTERP};
use elf::endian::AnyEndian;

/// Where the executable lies in the image; its entry point.
pub const EXECUTABLE: &str = "/iaso";

/// Where loaders look, beside the directories of what this process has mapped.
const LIBRARY_DIRECTORIES: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Image {
    /// An uncompressed tar archive: the image's one layer.
    pub layer: Bytes,
    /// Dockerfile instructions for the import: the entry point, and where the loader finds what it needs.
    pub changes: Vec<String>,
}

/// Packs an executable of this machine, such as `std::env::current_exe()`.
///
/// # Errors
/// When a file cannot be read, is no ELF executable, or needs a shared object that is not found.
pub fn pack(executable: &Path) -> io::Result<Image> {
    let program = read(executable)?;
    let needs = Needs::of(executable, &program)?;
    let mapped = mapped_objects();
    let mut files = BTreeMap::new();
    if let Some(interpreter) = needs.interpreter {
        let content = read(Path::new(&interpreter))?;
        files.insert(PathBuf::from(interpreter), content);
    }
    let mut wanted = needs.libraries;
    let mut found = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if !found.insert(name.clone()) {
            continue;
        }
        let path = find(&name, &mapped).ok_or_else(|| {
            let why = format!("{} needs the shared object {name}, which is not found", executable.display());
            io::Error::new(io::ErrorKind::NotFound, why)
        })?;
        let content = read(&path)?;
        wanted.extend(Needs::of(&path, &content)?.libraries);
        files.insert(path, content);
    }
    let directories: BTreeSet<String> =
        files.keys().filter_map(|path| path.parent()).map(|dir| dir.display().to_string()).collect();
    files.insert(PathBuf::from(EXECUTABLE), program);

    let mut changes = vec![format!("ENTRYPOINT [\"{EXECUTABLE}\"]")];
    if !directories.is_empty() {
        changes.push(format!("ENV LD_LIBRARY_PATH={}", Vec::from_iter(directories).join(":")));
    }
    Ok(Image { layer: archive(&files)?.into(), changes })
}

fn archive(files: &BTreeMap<PathBuf, Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path.strip_prefix("/").unwrap_or(path), content.as_slice())?;
    }
    archive.into_inner()
}

/// What an ELF file cannot run without.
struct Needs {
    interpreter: Option<String>,
    libraries: Vec<String>,
}

impl Needs {
    fn of(path: &Path, content: &[u8]) -> io::Result<Self> {
        Self::read(content).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: not an ELF file: {error}", path.display()))
        })
    }

    fn read(content: &[u8]) -> Result<Self, elf::ParseError> {
        let file = ElfBytes::<AnyEndian>::minimal_parse(content)?;
        let interpreter = match file.segments().into_iter().flatten().find(|segment| segment.p_type == PT_INTERP) {
            Some(segment) => {
                let path = file.segment_data(&segment)?;
                Some(String::from_utf8_lossy(path.strip_suffix(b"\0").unwrap_or(path)).into_owned())
            }
            None => None,
        };
        let common = file.find_common_data()?;
        let mut libraries = Vec::new();
        if let (Some(dynamic), Some(names)) = (common.dynamic, common.dynsyms_strs) {
            for entry in dynamic.iter().filter(|entry| entry.d_tag == DT_NEEDED) {
                let name = usize::try_from(entry.d_val()).map_err(|_| elf::ParseError::IntegerOverflow)?;
                libraries.push(names.get(name)?.to_owned());
            }
        }
        Ok(Self { interpreter, libraries })
    }
}

/// The files that this process has mapped: its shared objects are among them.
fn mapped_objects() -> BTreeSet<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(|line| line.find('/').map(|path| PathBuf::from(&line[path..]))).collect()
}

/// Where a shared object of this name lies: as mapped, else beside what is mapped, else where loaders look.
fn find(name: &str, mapped: &BTreeSet<PathBuf>) -> Option<PathBuf> {
    let as_mapped = mapped.iter().find(|path| path.file_name().is_some_and(|file| file == name));
    if let Some(path) = as_mapped {
        return Some(path.clone());
    }
    let beside = mapped.iter().filter_map(|path| path.parent());
    let mut directories = beside.chain(LIBRARY_DIRECTORIES.iter().map(Path::new));
    directories.find_map(|dir| Some(dir.join(name)).filter(|path| path.is_file()))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_executable_its_interpreter_and_every_library() {
        let image = pack(&std::env::current_exe().unwrap()).unwrap();
        let mut archive = tar::Archive::new(&*image.layer);
        let paths: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert!(paths.contains(&"iaso".to_owned()), "{paths:?}");
        for part in ["ld-linux", "libc.so"] {
            assert!(paths.iter().any(|path| path.contains(part)), "{part} is not among {paths:?}");
        }
        assert_eq!(image.changes[0], "ENTRYPOINT [\"/iaso\"]");
    }

    #[test]
    fn what_is_no_executable_is_named() {
        let error = pack(Path::new("/etc/hostname")).unwrap_err();
        assert!(error.to_string().contains("/etc/hostname: not an ELF file"), "{error}");
    }
}
