//! What a process costs, as the kernel counts it.

use std::fs;
use std::time::Duration;

use super::Result;

/// What all its threads have spent so far. One that has ended takes its share with it.
pub fn processor_time(process: u32) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let statistics = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += statistics.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// What all its threads have spent so far, those that have ended too; in steps of 10 ms.
pub fn processor_time_of_all(process: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before may hold anything; user and system time are the 14th and 15th field of the whole.
    let (_, fields) = stat.rsplit_once(')').ok_or("no process's statistics")?;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<std::result::Result<_, _>>()?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}

/// Its resident memory, and the part of it that is no file's, in MiB.
pub fn resident(process: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kib.map_or(f64::NAN, |kib| kib / 1024.0)
    };
    Ok((mib("VmRSS:"), mib("RssAnon:")))
}
