//! Asks on the terminal what the flags do not say.

use std::io::{self, IsTerminal};

use dialoguer::{Input, MultiSelect, Select};
use tokio::time::Duration;

use super::rules::Case;
use crate::{
    cli::{AdviseArgs, Change, DoubleSale, Runs, Spread, Value, WANTING_MAX, values},
    scenario::error::ScenarioError,
};
use locklab_locks::duration::{DURATION_VALID, parse_flag};

/// What is asked, and what a flag is to say about it.
const WORK: &str = "How long does the work between read and write take, typically?";
const WORST: &str = "The longest that it may take, with pauses of the process?";
const BUYERS: &str = "How many want the same thing at once?";
const DOUBLE_SALE: &str = "What does it cost when two hold the lock at once?";
const PROCESSES: &str = "In how many processes do they come?";
const CHANGE: &str = "What is changed under the lock?";
const SERVERS: &str = "What do you run, or would you? (space chooses, none means any)";

/// The case, as far as flags say, and asked for beyond that.
pub fn case(args: &AdviseArgs) -> Result<Case, ScenarioError> {
    let missing = missing(args);
    let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !missing.is_empty() && !can_ask {
        let missing = missing.join("; ");
        let why =
            format!("there is no terminal to ask on, so it has to be said by flags: {missing}");
        return Err(ScenarioError::Usage(why));
    }
    let work = args.work.map_or_else(|| duration(WORK, Duration::ZERO), Ok)?;
    let worst = args.worst.map_or_else(|| duration(WORST, work), Ok)?;
    if worst < work {
        let why =
            format!("--worst {worst:?} is less than --work {work:?}: expected as much or more");
        return Err(ScenarioError::Usage(why));
    }
    Ok(Case {
        work,
        worst,
        ttl: args.ttl,
        buyers: args.buyers.map_or_else(buyers, Ok)?,
        double_sale: args.double_sale.map_or_else(|| one(DOUBLE_SALE, &values()), Ok)?,
        processes: args.processes.map_or_else(|| one(PROCESSES, &values()), Ok)?,
        change: args.change.map_or_else(|| one(CHANGE, &values()), Ok)?,
        servers: match &args.servers {
            Some(servers) => servers.clone(),
            // Nothing else has to be asked, so nobody is there who wants to be.
            None if missing.is_empty() => Vec::new(),
            None => several(SERVERS, &values())?,
        }
        .into_iter()
        .map(Runs::backend)
        .collect(),
    })
}

/// The flags that are missing, each with what it is to say.
fn missing(args: &AdviseArgs) -> Vec<String> {
    let asked = [
        (args.work.is_none(), "--work DURATION".to_owned(), WORK),
        (args.worst.is_none(), "--worst DURATION".to_owned(), WORST),
        (args.buyers.is_none(), "--buyers NUMBER".to_owned(), BUYERS),
        (args.double_sale.is_none(), flag("--double-sale", &values::<DoubleSale>()), DOUBLE_SALE),
        (args.processes.is_none(), flag("--processes", &values::<Spread>()), PROCESSES),
        (args.change.is_none(), flag("--change", &values::<Change>()), CHANGE),
    ];
    let asked = asked.into_iter().filter(|(is_missing, ..)| *is_missing);
    asked.map(|(_, flag, question)| format!("{flag} ({question})")).collect()
}

fn flag<T>(flag: &str, values: &[Value<T>]) -> String {
    let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
    format!("{flag} {}", names.join("|"))
}

/// A duration, not less than another.
fn duration(question: &str, least: Duration) -> Result<Duration, ScenarioError> {
    let check = |text: &String| match parse_flag(text) {
        Ok(it) if it < least => Err(format!("expected {least:?} or more")),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    let prompt = format!("{question} ({DURATION_VALID})");
    let text: String =
        Input::new().with_prompt(prompt).validate_with(check).interact_text().map_err(unheard)?;
    parse_flag(&text).map_err(ScenarioError::Usage)
}

fn buyers() -> Result<u32, ScenarioError> {
    let check = |number: &u32| {
        let is_valid = (1..=WANTING_MAX).contains(number);
        is_valid.then_some(()).ok_or_else(|| format!("expected 1 to {WANTING_MAX}"))
    };
    Input::new().with_prompt(BUYERS).validate_with(check).interact_text().map_err(unheard)
}

/// One of several values.
fn one<T: Copy>(question: &str, values: &[Value<T>]) -> Result<T, ScenarioError> {
    let chosen = Select::new().with_prompt(question).items(told(values)).default(0).interact();
    Ok(values[chosen.map_err(unheard)?].value)
}

/// Some of several values.
fn several<T: Copy>(question: &str, values: &[Value<T>]) -> Result<Vec<T>, ScenarioError> {
    let chosen = MultiSelect::new().with_prompt(question).items(told(values)).interact();
    Ok(chosen.map_err(unheard)?.into_iter().map(|index| values[index].value).collect())
}

fn told<T>(values: &[Value<T>]) -> Vec<String> {
    values.iter().map(|value| format!("{}: {}", value.name, value.help)).collect()
}

/// Whoever was asked has gone.
fn unheard(dialoguer::Error::IO(error): dialoguer::Error) -> ScenarioError {
    ScenarioError::Usage(format!("no answer: {error}"))
}
