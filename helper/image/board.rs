//! How far the layers have come: a line for each on a terminal, drawn again and again; lines or JSON elsewhere.

use crate::{json, patient, progress};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::time::{Duration, Instant};
use untar_in_root::image::{Image, Step, What};
use untar_in_root::{Digest, Progress};

/// Between two drawings.
const PACE: Duration = Duration::from_millis(100);

/// Shows the steps of an image.
pub(crate) struct Board {
    rows: Vec<Row>,
    how: How,
    /// Where JSON goes.
    events: Box<dyn Write + Send>,
    started: Instant,
    /// Lines on the terminal that will be drawn again.
    drawn: usize,
    next: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Terminal,
    Lines,
    Json,
}

struct Row {
    size: u64,
    diff_id: Digest,
    begun: Option<Instant>,
    progress: Progress,
    waits: bool,
}

impl Board {
    pub(crate) fn lines(image: &Image, terminal: bool) -> Board {
        Board::new(image, if terminal { How::Terminal } else { How::Lines }, Box::new(io::sink()))
    }

    /// Events, an object of JSON on a line each.
    pub(crate) fn json(image: &Image, events: Box<dyn Write + Send>) -> Board {
        Board::new(image, How::Json, events)
    }

    fn new(image: &Image, how: How, events: Box<dyn Write + Send>) -> Board {
        let row = |layer: &untar_in_root::image::Layer| Row {
            size: layer.size(),
            diff_id: layer.diff_id(),
            begun: None,
            progress: Progress::default(),
            waits: false,
        };
        let started = Instant::now();
        let rows = image.layers().iter().map(row).collect();
        Board { rows, how, events, started, drawn: 0, next: started + progress::PATIENCE }
    }

    pub(crate) fn step(&mut self, step: Step) {
        if self.how == How::Json {
            // Nobody reads it: the outcome will say so.
            let mut out = io::BufWriter::new(&mut self.events);
            let _ = writeln!(out, "{}", json::line(event(&step, self.rows.len()))).and_then(|()| out.flush());
            return;
        }
        let (at, of) = (step.layer, self.rows.len());
        let Some(row) = self.rows.get_mut(at) else { return };
        let head = format!("layer {}/{of} {}", at + 1, short(&row.diff_id));
        match step.what {
            What::StoreBusy => return self.say("another process has the store: waiting for it"),
            What::Found => return self.say(&format!("{head}: in the store already")),
            What::Begun => row.begun = Some(Instant::now()),
            What::Progress(progress) => (row.progress, row.waits) = (progress, false),
            What::Waiting => row.waits = true,
            What::Done(report) => {
                let took = row.begun.take().map_or(Duration::ZERO, |begun| begun.elapsed()).as_secs_f64();
                let (size, entries) = (progress::bytes(row.size as f64), report.entries.total());
                return self.say(&format!("{head}: {size}, {entries} entries, {took:.1} s"));
            }
            _ => {}
        }
        if self.how == How::Terminal && Instant::now() >= self.next {
            self.draw("");
        }
    }

    /// A line that stays.
    fn say(&mut self, line: &str) {
        match self.how {
            How::Terminal => self.draw(&format!("{line}\x1b[K\n")),
            _ => drop(patient::errors().write_all(format!("{line}\n").as_bytes())),
        }
    }

    /// What stays, then the layers that are at work.
    fn draw(&mut self, above: &str) {
        let (width, height) = terminal_size::terminal_size_of(io::stderr())
            .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)));
        let mut text = self.up();
        text.push_str(above);
        let now = Instant::now();
        self.drawn = 0;
        if now >= self.started + progress::PATIENCE {
            let of = self.rows.len();
            let busy = self.rows.iter().enumerate().filter_map(|(at, row)| Some((at, row, row.begun?)));
            for (at, row, begun) in busy.take(height.saturating_sub(2).max(1)) {
                let line = match row.waits {
                    true => format!("layer {}/{of}: waits for the layers below", at + 1),
                    false => {
                        format!("layer {}/{of}: {}", at + 1, progress::text(row.progress, Some(row.size), now - begun))
                    }
                };
                text.extend(line.chars().take(width.max(2) - 1));
                text.push_str("\x1b[K\n");
                self.drawn += 1;
            }
        }
        let _ = patient::errors().write_all(text.as_bytes());
        self.next = now.max(self.started + progress::PATIENCE) + PACE;
    }

    /// Back to the first line that is drawn again, and nothing below.
    fn up(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\r\x1b[J", self.drawn) }
    }

    /// Takes away what is not to stay.
    pub(crate) fn end(&mut self) {
        if self.how == How::Terminal {
            let _ = patient::errors().write_all(self.up().as_bytes());
            self.drawn = 0;
        }
    }
}

/// Twelve digits are enough for people.
fn short(digest: &Digest) -> String {
    digest.to_string().chars().skip("sha256:".len()).take(12).collect()
}

fn event(step: &Step, of: usize) -> Value {
    let (what, detail) = match &step.what {
        What::StoreBusy => ("store_busy", Value::Null),
        What::Found => ("found", Value::Null),
        What::Begun => ("begun", Value::Null),
        What::Waiting => ("waiting", Value::Null),
        What::Progress(progress) => ("progress", json::plain(progress)),
        What::Done(report) => ("done", json::report(report)),
        _ => ("other", Value::Null),
    };
    json!({ "event": { "layer": step.layer + 1, "of": of, "what": what, "detail": detail } })
}
