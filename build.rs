//! Records which commit is being built, for `locklab_build_info`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=LOCKLAB_REVISION");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/refs/heads");
    let given = std::env::var("LOCKLAB_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = given.or_else(git_revision).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=LOCKLAB_REVISION={revision}");
}

fn git_revision() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let revision = text.trim();
    (output.status.success() && !revision.is_empty()).then(|| revision.to_owned())
}
