//! The command line: what it refuses, what it says, and that it keeps secrets.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

use crate::{
    redis_server::Redis,
    server::{Server, command},
};

fn run(arguments: &[&str]) -> Output {
    // A port that somebody else uses would be a failure of another kind.
    let free = if arguments.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
    command(&[arguments, free].concat()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn invalid_usage_is_exit_code_64() {
    for arguments in [
        &["--nonsense"][..],
        &["--listen", "nowhere"],
        &["--redis-pool-size", "0"],
        &["--command-timeout", "0"],
        &["--command-timeout", "soon"],
        &["--stock", "1000000001"],
        &["--redis-mode", "both"],
        &["--redis-url", "http://127.0.0.1"],
        &["--redis-url", "127.0.0.1:6379"],
        &["--log", "=nonsense="],
        &["--redlock-urls", "redis://127.0.0.1:1,redis://127.0.0.1:2"],
        &["--redlock-urls", "a,b,c"],
        &["--etcd-endpoints", "127.0.0.1:2379"],
        &["--etcd-endpoints", "https://127.0.0.1:2379"],
        &["--etcd-endpoints", "http://root:hunter2@127.0.0.1:2379"],
        &["--zookeeper-hosts", "127.0.0.1"],
        &["--zookeeper-hosts", "127.0.0.1:0"],
        &["--zookeeper-hosts", "a:2181/x,b:2181"],
        &["--zookeeper-session-timeout", "0"],
        &["--embed", "oracle"],
        &["--log-format", "xml"],
        &["--log-slow", "soon"],
        &["--otlp-endpoint", "127.0.0.1:4318"],
        &["--otlp-endpoint", "https://127.0.0.1:4318"],
        &["--otlp-sample", "1.1"],
        &["--otlp-sample", "NaN"],
        &["sell"],
        &["completions"],
        &["completions", "tcsh"],
        &["--listen", "8080"],
        &["leader", "--lock", "none"],
        &["leader", "--candidates", "1"],
        &["leader", "--rounds", "0"],
        &["leader", "--ttl", "0"],
        &["leader", "--ttl", "1ms"],
        &["leader", "--ttl", "10m"],
        &["leader", "--redlock-urls", "redis://127.0.0.1:1"],
        &["anomaly", "nosuch"],
        &["anomaly", "late-advisory-lock", "--postgres-url", "mysql://127.0.0.1/locklab"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_every_variable_and_no_value() {
    let mut help = command(&["--help"]);
    help.env("REDIS_URL", "redis://:hunter2@127.0.0.1").env("LOCKLAB_ADMIN_TOKEN", "hunter2");
    help.env("LOCKLAB_OTLP_ENDPOINT", "http://:hunter2@127.0.0.1");
    let output = help.output().unwrap();
    assert!(output.status.success());
    let shown = text(&output.stdout);
    for variable in [
        "LOCKLAB_LISTEN",
        "REDIS_URL",
        "LOCKLAB_REDIS_MODE",
        "LOCKLAB_REDIS_POOL_SIZE",
        "LOCKLAB_COMMAND_TIMEOUT",
        "LOCKLAB_STOCK",
        "LOCKLAB_MAX_IN_FLIGHT",
        "LOCKLAB_DRAIN_TIMEOUT",
        "LOCKLAB_ADMIN_TOKEN",
        "LOCKLAB_LOG",
    ] {
        assert!(shown.contains(variable), "{variable}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// A password in a URL is shown nowhere: not when it works, and not when it is refused.
#[tokio::test]
async fn passwords_are_not_shown() {
    for refused in [
        ["--redis-url", "redis://:hunter2@127.0.0.1:port"],
        ["--otlp-endpoint", "https://:hunter2@127.0.0.1:4318"],
    ] {
        let output = run(&refused);
        assert_eq!(output.status.code(), Some(64));
        assert!(!text(&output.stderr).contains("hunter2"), "{}", text(&output.stderr));
    }
    let server = Server::start(&["--redis-url", "redis://user:hunter2@127.0.0.1:1/0"]);
    assert!(!server.redis.contains("hunter2") && server.redis.contains("user"), "{}", server.redis);
}

#[test]
fn a_missing_redis_says_how_to_install_one() {
    let output = command(&["--listen", "127.0.0.1:0"]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    assert!(
        shown.contains("--redis-url") && shown.contains("apt-get install redis-server"),
        "{shown}"
    );
}

/// A MariaDB comes in packages, and is not tried where the one that is needed to fill its folder is missing.
#[tokio::test]
async fn half_a_mariadb_says_how_to_install_the_rest() {
    let redis = Redis::start().await;
    let path = tempfile::tempdir().unwrap();
    symlink("/bin/true", path.path().join("mariadbd")).unwrap();
    let scenario = ["oversell", "--lock=mysql-row", "--json", "--redis-url", &redis.url()];
    let output = command(&scenario).env("PATH", path.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for told in ["my_print_defaults", "apt-get install mariadb-server-core mariadb-client-core"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let server = Server::start(&[]);
    let address = server.url.trim_start_matches("http://").to_owned();
    let output = run(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    assert!(shown.contains(&address) && shown.contains("name another with --listen"), "{shown}");
}

#[tokio::test]
async fn healthcheck_tells_ready_from_not() {
    let server = Server::start(&[]);
    let address = server.url.trim_start_matches("http://").to_owned();
    assert_eq!(run(&["healthcheck", "--listen", &address]).status.code(), Some(0));
    let any = address.replace("127.0.0.1", "0.0.0.0");
    assert_eq!(run(&["healthcheck", "--listen", &any]).status.code(), Some(0));
    drop(server);
    let output = run(&["healthcheck", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    assert!(shown.contains(&address) && shown.contains("start locklab there"), "{shown}");
}

/// What is refused, and what the error says to do instead.
#[test]
fn errors_say_what_is_valid() {
    for (arguments, told) in [
        (&["leader", "--lock", "fence"][..], "a similar value exists: 'fenced'"),
        (&["leadr"], "a similar subcommand exists: 'leader'"),
        (&["leader", "--candidate", "3"], "a similar argument exists: '--candidates'"),
        (&["--embed", "oracle"], "postgres, mysql, all]"),
        (&["--listen", "localhost"], "expected an IP address and a port, such as 127.0.0.1:8080"),
        (&["--log", "=nonsense="], "expected error, warn, info, debug, trace, or a filter such as"),
        (&["--redlock-urls", "redis://127.0.0.1:1"], "expected 3 to 9 URLs, not 1"),
        (&["--etcd-endpoints", "127.0.0.1:2379"], "expected http://host:port of each member"),
        (&["--postgres-url", "mysql://h/d"], "expected postgres://[user[:password]@]host[:port]/"),
        (&["--command-timeout", "soon"], "such as 250us, 5ms or 2s"),
    ] {
        let shown = text(&run(arguments).stderr);
        assert!(shown.contains(told), "{arguments:?}: {shown}");
    }
}

/// Compose files pass variables that nobody has set as empty ones.
#[tokio::test]
async fn an_empty_variable_embeds_nothing() {
    let output = command(&["healthcheck", "--listen", "127.0.0.1:1"])
        .env("LOCKLAB_EMBED", "")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let server = Server::start(&["--embed", ""]);
    let shown = server.get("/strategies").await.text;
    assert!(shown.contains("--embed etcd"), "{shown}");
}

/// The subcommands that help names.
fn subcommands() -> Vec<String> {
    let help = text(&run(&["-h"]).stdout);
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list = list.take_while(|line| !line.is_empty());
    let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    assert!(names.iter().any(|name| name == "leader"), "{help}");
    assert!(!names.iter().any(|name| name == "candidate"), "{help}");
    names.into_iter().filter(|name| name != "help").collect()
}

/// The flags that a help names, in its order.
fn flags(help: &str) -> Vec<String> {
    let words = help.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("-h, ").or_else(|| line.strip_prefix("-V, ")).or(Some(line))
    });
    let flags = words.filter_map(|line| line.strip_prefix("--")?.split([' ', ',']).next());
    flags.map(str::to_owned).collect()
}

/// A subcommand's own flags come first. What only a server needs is not in the way of others, and
/// is accepted all the same.
#[test]
fn short_help_is_about_the_subcommand() {
    let short = text(&run(&["leader", "-h"]).stdout);
    let places = ["--candidates", "Report:", "Servers:"].map(|it| short.find(it).unwrap());
    assert!(places.is_sorted(), "{short}");
    for flag in ["--listen", "--admin-token", "--log-format", "--etcd-timeout"] {
        assert!(!short.contains(flag), "{short}");
        assert!(text(&run(&["leader", "--help"]).stdout).contains(flag), "{flag}");
        assert!(text(&run(&["-h"]).stdout).contains(flag) != (flag == "--etcd-timeout"), "{flag}");
    }
    let own = text(&command(&["healthcheck", "-h"]).output().unwrap().stdout);
    assert_eq!(flags(&own), ["help", "listen"], "{own}");
    let accepted = run(&["--log-format", "json", "healthcheck", "--stock", "1"]);
    assert_eq!(accepted.status.code(), Some(1), "{}", text(&accepted.stderr));
}

/// What bash offers at the end of a line.
fn completed(line: &[&str]) -> String {
    let script = "source /dev/stdin && COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) && \
                  _locklab locklab \"${@: -1}\" \"${@: -2:1}\" && echo \"${COMPREPLY[@]}\"";
    let mut completions = command(&["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash", "locklab"]).args(line);
    let output = bash.stdin(completions.stdout.take().unwrap()).output().unwrap();
    assert!(completions.wait().unwrap().success());
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn bash_completes() {
    assert_eq!(completed(&["lead"]), "leader");
    assert_eq!(completed(&["leader", "--cand"]), "--candidates");
    assert_eq!(completed(&["leader", "--lock", "f"]), "fenced");
    assert_eq!(completed(&["anomaly", "sk"]), "skip-locked-miscount");
    assert_eq!(completed(&["--redis-m"]), "--redis-mode");
    assert_eq!(completed(&["candi"]), "", "what is hidden stays so");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = text(&run(&["completions", shell]).stdout);
        assert!(
            script.contains("healthcheck") && !script.contains("stands for election"),
            "{shell}"
        );
    }
}

/// A page without its macros: what a reader is shown.
fn shown(roff: &str) -> String {
    for line in roff.lines().filter(|line| line.starts_with('.')) {
        let name = line[1..].split(' ').next().unwrap();
        assert!(
            ["ie", "el", "TH", "SH", "TP", "IP", "PP", "RS", "RE", "br", "nf", "fi"]
                .contains(&name),
            "{line}"
        );
    }
    let plain = ["\\fB", "\\fI", "\\fR", "\\&"]
        .iter()
        .fold(roff.to_owned(), |it, mark| it.replace(mark, ""));
    plain.replace("\\-", "-")
}

#[test]
fn manual_pages_name_every_subcommand_and_every_flag() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("made/for/it");
    let written = run(&["man", "--dir", pages.to_str().unwrap()]);
    assert!(written.status.success() && written.stdout.is_empty(), "{}", text(&written.stderr));
    let read = |name: &str| fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
    let whole = run(&["man"]).stdout;
    assert_eq!(text(&whole), read("locklab"));
    let page = shown(&text(&whole));
    let subcommands = subcommands();
    for name in &subcommands {
        assert!(page.contains(&format!("locklab-{name}(1)")), "{name}: {page}");
        let (own, help) = (shown(&read(&format!("locklab-{name}"))), run(&[name, "--help"]).stdout);
        let flags = flags(&text(&help));
        assert!(flags.len() > 20, "{flags:?}");
        for flag in flags {
            assert!(own.contains(&format!("--{flag}")), "{name}: --{flag}");
            assert!(!own.contains(&format!("--{flag}\n\n")), "{name}: --{flag} does what?");
        }
    }
    for flag in flags(&text(&run(&["--help"]).stdout)) {
        assert!(page.contains(&format!("--{flag}")), "--{flag}");
    }
    for told in ["LOCKLAB_ETCD_TIMEOUT", "The longest wait for etcd", "Exit codes: 0"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert_eq!(fs::read_dir(&pages).unwrap().count(), subcommands.len() + 1, "and no more");
    assert!(!page.contains("candidate("), "{page}");
    let taken = run(&["man", "--dir", pages.join("locklab.1").to_str().unwrap()]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(text(&taken.stderr).contains("name a folder to write to"), "{}", text(&taken.stderr));
    // Not every machine has one; what it would be given has been looked at.
    let groff = Command::new("groff")
        .args(["-k", "-man", "-Tutf8", "-ww"])
        .arg(pages.join("locklab.1"))
        .output();
    if let Ok(rendered) = groff {
        assert!(rendered.stderr.is_empty(), "{}", text(&rendered.stderr));
        assert!(text(&rendered.stdout).contains("Where to listen"), "{}", text(&rendered.stdout));
    }
}
