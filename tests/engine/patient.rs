//! The patient falls ill as ordered: what other tests build on.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::rig::PATIENCE;
use crate::support::{Need, test};

pub fn tests() -> Vec<Trial> {
    macro_rules! suite {
        ($($name:ident),+ $(,)?) => {
            vec![$(test(concat!("patient::", stringify!($name)), &[Need::Nothing], || { $name(); Ok(()) })),+]
        };
    }
    suite![
        it_answers_in_each_way,
        it_turns_sick_and_its_probe_says_so,
        it_leaves_with_the_code_it_was_told,
        it_ends_at_once_on_sigterm_unless_told_otherwise,
    ]
}

/// A patient on this machine; killed when it is dropped.
struct Patient {
    child: Child,
    port: u16,
}

impl Patient {
    fn with(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_iaso"))
            .args(["patient", "--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the patient");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
        let port = line.trim().rsplit(' ').next().and_then(|port| port.parse().ok()).expect("its port");
        Self { child, port }
    }

    fn get(&self, path: &str) -> std::io::Result<Vec<u8>> {
        self.get_within(path, PATIENCE)
    }

    fn get_within(&self, path: &str, patience: Duration) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: patient\r\n\r\n")?;
        stream.set_read_timeout(Some(patience))?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn probe(&self) -> ExitStatus {
        let url = format!("http://127.0.0.1:{}/health", self.port);
        let probe = Command::new(env!("CARGO_BIN_EXE_iaso")).args(["patient", "--probe", &url]).output();
        probe.expect("the probe").status
    }

    fn term(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id")).expect("a process id");
        kill_process(pid, Signal::TERM).expect("a signal");
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn it_answers_in_each_way() {
    let patient = Patient::with(&[]);
    assert!(patient.get("/").expect("an answer").starts_with(b"HTTP/1.1 200"));
    assert!(!patient.get("/garbage").expect("bytes").starts_with(b"HTTP/"));
    assert!(patient.get("/huge").expect("bytes").len() > 100 << 20);
    assert_eq!(patient.get("/reset").expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    assert!(patient.get("/hang").expect("an answer").starts_with(b"HTTP/1.1 200"));
    let silence = patient.get_within("/health", Duration::from_millis(300));
    assert_eq!(silence.expect_err("silence").kind(), ErrorKind::WouldBlock);
}

fn it_turns_sick_and_its_probe_says_so() {
    let patient = Patient::with(&[]);
    // Its own patience is short; on a busy machine it may take more than one.
    assert!((0..20).any(|_| patient.probe().code() == Some(0)));
    patient.get("/sick").expect("an answer");
    assert_eq!(patient.probe().code(), Some(1));
    let sick_by_itself = Patient::with(&["--sick-after", "1ms"]);
    while !sick_by_itself.get("/").expect("an answer").starts_with(b"HTTP/1.1 500") {}
}

fn it_leaves_with_the_code_it_was_told() {
    let mut patient = Patient::with(&[]);
    patient.get("/exit?code=42").expect("an answer");
    assert_eq!(patient.child.wait().expect("its end").code(), Some(42));
    let mut by_itself = Patient::with(&["--exit-after", "1ms:7"]);
    assert_eq!(by_itself.child.wait().expect("its end").code(), Some(7));
}

fn it_ends_at_once_on_sigterm_unless_told_otherwise() {
    let mut patient = Patient::with(&[]);
    patient.term();
    assert_eq!(patient.child.wait().expect("its end").code(), Some(0));
    let stubborn = Patient::with(&["--ignore-term"]);
    stubborn.term();
    assert!(stubborn.get("/").expect("an answer").starts_with(b"HTTP/1.1 200"));
}
