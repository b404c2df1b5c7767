//! A ping, a trace or a lookup: what comes is printed as it comes.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::door::ADMIN;
use crate::door::client::Door;
use crate::door::messages::{Call, Report, Request, Response, Row, Tool};
use crate::tools::milliseconds;

use super::{show, unreachable};

/// How often it is looked again.
const AGAIN: Duration = Duration::from_millis(200);

/// Runs one to its end.
pub async fn run(door: &Path, json: bool, tool: Tool, target: &str) -> Result<(), String> {
    let daemon = Door::new(door.join(ADMIN));
    let mut request = Request::Try { tool, target: target.to_owned() };
    let mut id = None;
    let mut printed = 0;
    loop {
        let call = Call { ticket: None, source: None, attended: true, request };
        let report = match daemon.call(call).await.map_err(|e| unreachable(door, &e))? {
            Response::Refused(refusal) => return Err(show::refusal(&refusal, json)),
            Response::Tried { report: Some(report) } if *id.get_or_insert(report.id) == report.id => report,
            _ => return Err("postern: somebody else began another run, and this one is not kept.".to_owned()),
        };
        let over = report.verdict.is_some();
        if !json || over {
            let text = if json {
                show::answer(&Response::Tried { report: Some(report) }, true)?
            } else {
                let sure = if over { report.rows.len() } else { sure(&report.rows) };
                let fresh = report.rows.get(printed..sure).unwrap_or_default().iter().map(row);
                let text = fresh.collect::<String>();
                printed = printed.max(sure);
                text + &report.verdict.map_or_else(String::new, |verdict| verdict + "\n")
            };
            // A reader that has seen enough is not a failure.
            let mut out = std::io::stdout();
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() || over {
                return Ok(());
            }
        }
        tokio::time::sleep(AGAIN).await;
        request = Request::Tried;
    }
}

/// How many rows will not change any more: a hop that is silent may still answer.
fn sure(rows: &[Row]) -> usize {
    rows.iter().position(|row| matches!(row, Row::Hop { from: None, .. })).unwrap_or(rows.len())
}

/// A whole report.
pub fn in_words(report: &Report) -> String {
    let rows: String = report.rows.iter().map(row).collect();
    rows + report.verdict.as_deref().unwrap_or("It is not over yet.") + "\n"
}

fn row(row: &Row) -> String {
    match row {
        Row::Answer { number, microseconds } => format!("{number}  {}\n", milliseconds(*microseconds)),
        Row::Lost { number } => format!("{number}  no answer\n"),
        Row::Refused { number, from, why } => format!("{number}  {from}: {why}\n"),
        Row::Hop { hops, from: None, .. } => format!("{hops:2}  no answer\n"),
        Row::Hop { hops, from: Some(from), microseconds, why } => {
            let why = why.as_ref().map_or_else(String::new, |why| format!("  {why}"));
            format!("{hops:2}  {from:39}  {}{why}\n", milliseconds(*microseconds))
        }
        Row::Record { record, value, seconds } => format!("{record:5}  {value}  (kept for {seconds} s)\n"),
    }
}
