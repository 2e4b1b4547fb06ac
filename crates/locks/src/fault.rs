//! Faults on demand, at named steps: what usually takes bad luck happens every time.

use enum_map::Enum;
use enum_map::EnumMap;
use metrics::Counter;
use metrics::Gauge;
use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};
use strum::VariantArray;
use tokio::sync::watch;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;
use tokio::time::{self, Duration};

use crate::{
    definitions,
    duration::{self, BareUnit},
    error::BackendError,
    measure::{Kind as MetricKind, Registry, raised::Raised},
    step::Step,
};

/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The most faults of one purchase.
pub const FAULTS_MAX: usize = 8;

definitions! {
    FAULTS_INJECTED: "locklab_faults_injected_total", MetricKind::Counter,
        "Faults that purchases asked for and that struck, by kind.";
    FAULTS_ACTIVE: "locklab_faults_active", MetricKind::Gauge,
        "Purchases that a fault makes stand still at this moment; the other kinds of faults take no time.";
}

/// What strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// This purchase stands still, as in a long garbage collection; the process goes on.
    Pause(Duration),
    /// This purchase ends, as if its process had died: nothing is released or undone.
    Crash,
    /// The server carries the step out, and its reply never arrives.
    DropReply,
    /// The step is left out, as if nobody had thought of it.
    Skip,
}

/// The kind of an action, as a label value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Pause,
    Crash,
    DropReply,
    Skip,
}

/// An action at a step: `pause:2s@before-write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What strikes.
    pub action: Action,
    /// Where.
    pub step: Step,
}

/// What a fault may look like.
pub const FAULT_VALID: &str = "pause:DURATION@STEP (at most 60s), crash@STEP, drop-reply@STEP or \
     skip@lock-row; /strategies lists the steps";
/// What a fault may look like, as a regular expression: the parser takes this and nothing else.
pub static FAULT_PATTERN: LazyLock<String> = LazyLock::new(|| {
    let names = |is_meant: fn(&Step) -> bool| {
        let steps = Step::VARIANTS.iter().filter(|step| is_meant(step)).map(|step| step.name());
        steps.collect::<Vec<_>>().join("|")
    };
    let (any, replied) = (names(|_| true), names(|step| step.has_reply()));
    // A regular expression counts digits: these are the numbers up to `PAUSE_MAX`, in each unit.
    let (s, ms, us) = ("60|[1-5]?[0-9]", "60000|[1-5]?[0-9]{1,4}", "60000000|[1-5]?[0-9]{1,7}");
    let length = format!("0*(({s})s|({ms})(ms)?|({us})us)");
    let skipped = Step::LockRow.name();
    format!("^((pause:{length}|crash)@({any})|drop-reply@({replied})|skip@{skipped})$")
});

/// The text was not a fault; [`FAULT_VALID`] says what is.
#[derive(Debug, thiserror::Error)]
#[error("expected {FAULT_VALID}")]
pub struct InvalidFault;

impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (action, step) = text.split_once('@').ok_or(InvalidFault)?;
        let step: Step = step.parse().map_err(|_| InvalidFault)?;
        let action = match action.split_once(':') {
            None if action == "crash" => Action::Crash,
            None if action == "drop-reply" && step.has_reply() => Action::DropReply,
            None if action == "skip" && step == Step::LockRow => Action::Skip,
            Some(("pause", length)) => duration::parse(length, BareUnit::Millis)
                .filter(|length| *length <= PAUSE_MAX)
                .map(Action::Pause)
                .ok_or(InvalidFault)?,
            _ => return Err(InvalidFault),
        };
        Ok(Self { action, step })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step.name();
        match self.action {
            Action::Pause(length) => write!(f, "pause:{}us@{step}", length.as_micros()),
            Action::Crash => write!(f, "crash@{step}"),
            Action::DropReply => write!(f, "drop-reply@{step}"),
            Action::Skip => write!(f, "skip@{step}"),
        }
    }
}

/// What faults do, counted.
pub struct FaultMetrics {
    struck: EnumMap<Kind, Counter>,
    standing: Gauge,
    pauses: watch::Sender<u64>,
}

impl FaultMetrics {
    /// Starts every series at 0.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            struck: FAULTS_INJECTED.counters(registry, &[], "fault"),
            standing: FAULTS_ACTIVE.gauge(registry, &[("fault", Kind::Pause.into())]),
            pauses: watch::Sender::default(),
        }
    }

    /// How often a fault has made somebody stand still, for whoever waits for it.
    #[must_use]
    pub fn pauses(&self) -> watch::Receiver<u64> {
        self.pauses.subscribe()
    }

    /// A fault makes somebody stand still; the gauge falls when the guard is dropped.
    fn paused(&self) -> Raised {
        self.pauses.send_modify(|pauses| *pauses += 1);
        Raised::one(self.standing.clone())
    }
}

/// The faults of one purchase, and who counts them.
#[derive(Clone, Default)]
pub struct Faults {
    faults: Arc<[Fault]>,
    /// How long they have made the purchase stand still, in µs.
    paused: Arc<AtomicU64>,
    metrics: Option<Arc<FaultMetrics>>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.faults.iter()).finish()
    }
}

impl Faults {
    /// These faults; each that strikes is counted.
    #[must_use]
    pub fn new(faults: Vec<Fault>, metrics: Arc<FaultMetrics>) -> Self {
        Self { faults: faults.into(), metrics: Some(metrics), ..Self::default() }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// Whether nothing is to go wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// The longest time that one of them makes the purchase stand still.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        let pauses = self.faults.iter().filter_map(|fault| match fault.action {
            Action::Pause(length) => Some(length),
            _ => None,
        });
        pauses.max().unwrap_or_default()
    }

    /// How long they have made the purchase stand still.
    #[must_use]
    pub fn paused(&self) -> Duration {
        Duration::from_micros(self.paused.load(Ordering::Relaxed))
    }

    /// Lets what was asked for at this step happen.
    ///
    /// # Errors
    /// [`BackendError::Crashed`]: the purchase ends here, and nobody cleans up after it.
    pub async fn strike(&self, step: Step) -> Result<(), BackendError> {
        for fault in self.faults.iter().filter(|fault| fault.step == step) {
            match fault.action {
                Action::Pause(length) => {
                    self.count(Kind::Pause);
                    let active = self.metrics.as_ref().map(|metrics| metrics.paused());
                    time::sleep(length).await;
                    drop(active);
                    self.paused.fetch_add(length.as_micros() as u64, Ordering::Relaxed);
                }
                Action::Crash => {
                    self.count(Kind::Crash);
                    return Err(BackendError::Crashed { step });
                }
                Action::DropReply | Action::Skip => {}
            }
        }
        Ok(())
    }

    /// The reply to a step, unless it is to be lost.
    ///
    /// # Errors
    /// Those of the reply, and [`BackendError::Unknown`] for one that was lost on demand.
    pub fn reply<T>(&self, step: Step, reply: Result<T, BackendError>) -> Result<T, BackendError> {
        let lost = Fault { action: Action::DropReply, step };
        if reply.is_err() || !self.faults.contains(&lost) {
            return reply;
        }
        self.count(Kind::DropReply);
        let cause = format!("its reply was dropped, as {lost} asked").into();
        Err(BackendError::Unknown { backend: "the server", cause })
    }

    /// Whether a step is to be left out.
    #[must_use]
    pub fn skips(&self, step: Step) -> bool {
        let skips = self.faults.contains(&Fault { action: Action::Skip, step });
        if skips {
            self.count(Kind::Skip);
        }
        skips
    }

    fn count(&self, kind: Kind) {
        if let Some(metrics) = &self.metrics {
            metrics.struck[kind].increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults as people type them, each with its usual spelling; none of what is not a fault.
    const EXAMPLES: [(&str, Option<&str>); 36] = [
        ("crash@after-acquire", Some("crash@after-acquire")),
        ("crash@between-setnx-and-expire", Some("crash@between-setnx-and-expire")),
        ("drop-reply@release", Some("drop-reply@release")),
        ("skip@lock-row", Some("skip@lock-row")),
        ("pause:2s@before-write", Some("pause:2000000us@before-write")),
        ("pause:0@write", Some("pause:0us@write")),
        ("pause:9@write", Some("pause:9000us@write")),
        ("pause:99us@write", Some("pause:99us@write")),
        ("pause:60s@write", Some("pause:60000000us@write")),
        ("pause:60000@write", Some("pause:60000000us@write")),
        ("pause:59999ms@write", Some("pause:59999000us@write")),
        ("pause:60000000us@write", Some("pause:60000000us@write")),
        ("pause:00060s@write", Some("pause:60000000us@write")),
        ("", None),
        ("crash", None),
        ("crash@", None),
        ("crash@nowhere", None),
        ("crash@write@write", None),
        ("crash@write ", None),
        ("Crash@write", None),
        ("crash:1s@write", None),
        ("pause@write", None),
        ("pause:@write", None),
        ("pause:s@write", None),
        ("pause:61s@write", None),
        ("pause:100s@write", None),
        ("pause:60001@write", None),
        ("pause:60000001us@write", None),
        ("pause:99999999999999999999@write", None),
        ("pause:1.5s@write", None),
        ("pause:-1s@write", None),
        ("pause:soon@write", None),
        ("drop-reply@before-write", None),
        ("drop-reply@read", None),
        ("skip@write", None),
        ("explode@write", None),
    ];

    #[test]
    fn faults_as_people_type_them() {
        for (text, spelling) in EXAMPLES {
            let fault = text.parse::<Fault>().ok();
            assert_eq!(fault.map(|it| it.to_string()).as_deref(), spelling, "{text:?}");
        }
    }

    #[test]
    fn the_pattern_is_what_the_parser_takes() {
        let pattern = regex::Regex::new(&FAULT_PATTERN).unwrap();
        for (text, spelling) in EXAMPLES {
            assert_eq!(pattern.is_match(text), spelling.is_some(), "{text:?}");
        }
        for step in Step::VARIANTS {
            for action in ["pause:1s", "crash", "drop-reply", "skip"] {
                let text = format!("{action}@{}", step.name());
                assert_eq!(pattern.is_match(&text), text.parse::<Fault>().is_ok(), "{text:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn faults_strike_where_they_were_asked_for() {
        let faults = |texts: &[&str]| {
            let faults = texts.iter().map(|text| text.parse().unwrap()).collect();
            Faults::new(faults, Arc::new(FaultMetrics::new(&metrics::NoopRecorder)))
        };
        let started = time::Instant::now();
        let paused = faults(&["pause:1s@write", "pause:2s@write"]);
        assert!(paused.strike(Step::Read).await.is_ok() && started.elapsed().is_zero());
        assert!(paused.strike(Step::Write).await.is_ok());
        assert_eq!(started.elapsed(), Duration::from_secs(3));
        assert!(faults(&["crash@write"]).strike(Step::Write).await.is_err());
        let dropped = faults(&["drop-reply@acquire"]);
        assert!(dropped.strike(Step::Acquire).await.is_ok());
        assert!(dropped.reply(Step::Acquire, Ok(())).unwrap_err().is_unknown());
        assert!(dropped.reply(Step::Release, Ok(())).is_ok());
    }
}
