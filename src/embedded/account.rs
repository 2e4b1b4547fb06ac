//! The account of a server that refuses to run as root, and what only it may reach.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User};

/// Who runs a server.
#[derive(Debug)]
pub(super) enum Account {
    /// We: there is nothing to change.
    Ours,
    /// We are root, and a system user that the server's package created does.
    System(User),
}

impl Account {
    /// We, or this system user if we are root; `None` if there is no such user.
    pub(super) fn instead_of_root(name: &str) -> Option<Self> {
        if !Uid::effective().is_root() {
            return Some(Self::Ours);
        }
        User::from_name(name).ok().flatten().map(Self::System)
    }

    /// A new folder of its own, in one of ours.
    pub(super) fn folder(&self, parent: &Path) -> io::Result<PathBuf> {
        let home = parent.join("home");
        fs::create_dir(&home)?;
        if let Self::System(user) = self {
            // It passes through ours, and lists or writes nothing there.
            fs::set_permissions(parent, Permissions::from_mode(0o711))?;
            chown(&home, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        fs::set_permissions(&home, Permissions::from_mode(0o700))?;
        Ok(home)
    }

    /// What starts a program under it: the program and its arguments follow, and become this
    /// process.
    pub(super) fn through(&self) -> Vec<String> {
        match self {
            Self::Ours => Vec::new(),
            Self::System(user) => vec![
                "setpriv".to_owned(),
                format!("--reuid={}", user.uid),
                format!("--regid={}", user.gid),
                "--init-groups".to_owned(),
            ],
        }
    }
}
