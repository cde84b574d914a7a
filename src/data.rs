//! The data folder: made for its owner alone, and used by one serving process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be made.
    #[error("cannot make the data folder {}: give one that this user may write by --data", path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The lock's file cannot be opened or written.
    #[error("cannot lock the data folder by {}: this user must be able to write it", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process serves from it.
    #[error(
        "the data folder {} is in use by {}; stop that one or give another folder by --data",
        path.display(), holder(*pid)
    )]
    Held {
        /// The folder.
        path: PathBuf,
        /// Whose it is, if the file says so.
        pid: Option<u32>,
    },
}

/// The right to serve from a data folder, until it is dropped or the process ends, however that comes.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the folder if need be and takes the lock; never waits.
    pub(crate) fn take(folder: &Path) -> Result<Self, Error> {
        make(folder)?;
        let path = folder.join(LOCK_FILE);
        let failed = |source| Error::Lock { path: path.clone(), source };
        let mut file = open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Held { path: folder.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // For the one that comes second; the lock itself is the system's, so a file left behind locks nobody out.
        let pid = format!("{}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Makes the folder, and those above it, for its owner alone; one that is there stays as it is.
pub(crate) fn make(folder: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| Error::Make { path: folder.to_owned(), source })
}

/// Whether [`make`] would work: the folder, or the nearest one above it that exists, is one that this user may write.
pub(crate) fn check(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::Make { path: folder.to_owned(), source };
    let existing = folder.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
    let existing = existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !fs::metadata(existing).map_err(failed)?.is_dir() {
        return Err(failed(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} is no folder", existing.display()),
        )));
    }
    is_writable(existing).map_err(failed)
}

#[cfg(unix)]
fn is_writable(folder: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(not(unix))]
fn is_writable(_folder: &Path) -> io::Result<()> {
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(MAX_PID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

const LOCK_FILE: &str = "tidegate.lock";
const MAX_PID_BYTES: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_process_s_until_it_ends() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a/b");
        let first = Lock::take(&folder).unwrap();
        let error = Lock::take(&folder).unwrap_err();
        assert!(matches!(&error, Error::Held { pid: Some(pid), .. } if *pid == std::process::id()));
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        // What the last holder wrote is no obstacle, and is replaced whole.
        fs::write(folder.join(LOCK_FILE), "99999999999\n1\n").unwrap();
        let _second = Lock::take(&folder).unwrap();
        let text = fs::read_to_string(folder.join(LOCK_FILE)).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_lock_that_does_not_say_whose_is_held_all_the_same() {
        let base = tempfile::tempdir().unwrap();
        let _first = Lock::take(base.path()).unwrap();
        fs::write(base.path().join(LOCK_FILE), "").unwrap();
        let error = Lock::take(base.path()).unwrap_err();
        assert!(matches!(error, Error::Held { pid: None, .. }));
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_its_owner_s_alone() {
        use std::os::unix::fs::MetadataExt as _;
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("a/b");
        make(&folder).unwrap();
        make(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_cannot_be_a_folder_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(check(base.path()).is_ok());
        assert!(check(&base.path().join("not/yet")).is_ok());
        assert!(check(Path::new("not-yet")).is_ok());
        for bad in [file.clone(), file.join("below")] {
            assert!(matches!(check(&bad), Err(Error::Make { .. })), "{}", bad.display());
            assert!(matches!(make(&bad), Err(Error::Make { .. })), "{}", bad.display());
        }
    }
}
