//! Every metric: its name, type, labels and words. The exposition and `docs/metrics.md` are made from this one table.

use prometheus::proto::MetricType;

/// A metric, as it is told to people and programs. Units are in the names: seconds, bytes.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    /// In the order of the values of each of its series.
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// Makes a constant of each line, and the table of them all.
macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $constant: Metric =
            Metric { name: $name, kind: MetricType::$kind, labels: &[$($label),*], help: $help };)+

        /// All of them, in the order of the documents.
        #[cfg(test)]
        pub(super) const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    SERVICE_HEALTH: GAUGE "service_health_status" ["service"]
        "1 healthy or degraded, 0 unhealthy, absent otherwise.";
    OPERATIONS: COUNTER "automation_operations_total" ["operation", "service", "status"]
        "Operations that ended.";
    OPERATION_DURATION: HISTOGRAM "automation_operation_duration_seconds" ["operation", "service"]
        "How long operations took, from their beginning to their verdict.";
    BUILD_INFO: GAUGE "iaso_build_info" ["version", "revision"]
        "The running build, always 1.";
    SERVICE_STATE: GAUGE "iaso_service_state" ["service", "state"]
        "1 for the state that the service is in, 0 for the others.";
    QUARANTINED: GAUGE "iaso_quarantined" ["service"]
        "1 while recovery of the service is given up.";
    BUDGET_REMAINING: GAUGE "iaso_restart_budget_remaining" ["service"]
        "Automatic operations left in the service's window.";
    CHECKS: COUNTER "iaso_checks_total" ["service", "check", "result"]
        "Results of checks.";
    CHECK_DURATION: GAUGE "iaso_check_duration_seconds" ["service", "check"]
        "How long the newest probe of the check took.";
    CERTIFICATE_EXPIRY: GAUGE "iaso_certificate_expiry_timestamp_seconds" ["service", "check"]
        "When the certificate that the check last saw expires.";
    RECOVERIES: COUNTER "iaso_recoveries_total" ["service", "action", "result"]
        "Automatic attempts that ended.";
    HOLDS: COUNTER "iaso_holds_total" ["service", "reason"]
        "Decisions not to act.";
    TIME_TO_RECOVER: HISTOGRAM "iaso_time_to_recover_seconds" []
        "From the beginning of an outage to verified health.";
    STORMS: COUNTER "iaso_storms_total" ["host"]
        "Times that so much failed on a host at once that recovery waited.";
    HOST_LOSSES: COUNTER "iaso_host_losses_total" ["host"]
        "Times that a host's engine was lost.";
    INCIDENTS_OPEN: GAUGE "iaso_incidents_open" ["severity"]
        "Outages that go on.";
    CREDENTIAL_AGE: GAUGE "iaso_credential_age_seconds" ["credential"]
        "How long ago the credential's source last confirmed the value in use.";
    CREDENTIAL_EXPIRY: GAUGE "iaso_credential_expiry_timestamp_seconds" ["credential"]
        "When the value in use ends, absent where it does not.";
    CREDENTIAL_REFRESHES: COUNTER "iaso_credential_refreshes_total" ["credential", "result"]
        "Reads of the credential's source.";
    VAULT_UP: GAUGE "iaso_vault_up" []
        "1 while Vault answers and lets Iaso in, absent where no credential is read from it.";
    VAULT_TOKEN_TTL: GAUGE "iaso_vault_token_ttl_seconds" []
        "How long Iaso's token for Vault lasts, 0 once it has ended, absent where it does not end.";
    NOTIFICATIONS: COUNTER "iaso_notifications_total" ["reporter", "result"]
        "Messages to people and programs, each after its last try.";
    HOST_UP: GAUGE "iaso_host_up" ["host"]
        "1 while the engine answers.";
    DISK_FULL: GAUGE "iaso_engine_disk_full" ["host"]
        "1 while the disk with the engine's data is full, so that what keeps data there is not restarted.";
    EVENTS_CONNECTED: GAUGE "iaso_engine_events_connected" ["host"]
        "1 while the engine's event stream is read.";
    BREAKER_STATE: GAUGE "iaso_circuit_breaker_state" ["client"]
        "The circuit breaker before a foreign system: 0 closed, 1 half-open, 2 open.";
    RELOAD_SUCCESSFUL: GAUGE "iaso_config_last_reload_successful" []
        "1 when the newest reading of the configuration was taken over, 0 when it was refused.";
    RELOAD_TIME: GAUGE "iaso_config_last_reload_success_timestamp_seconds" []
        "When the configuration was last taken over.";
    LOG_LINES_LOST: COUNTER "iaso_log_lines_lost_total" ["sink"]
        "Log lines that were dropped because their sink was too slow or refused them.";
    TASK_RESTARTS: COUNTER "iaso_task_restarts_total" ["task"]
        "Panics of tasks, each followed by a new start where the task is kept.";
    INPUT_DURATION: HISTOGRAM "iaso_input_duration_seconds" []
        "How long results of checks, words of engines and ends of operations took until they were dealt with.";
    QUEUE_LENGTH: GAUGE "iaso_queue_length" ["queue"]
        "What waits for the supervisor.";
    QUEUE_CAPACITY: GAUGE "iaso_queue_capacity" ["queue"]
        "How much may wait for the supervisor; who has more waits as well, and nothing is lost.";
    QUEUE_FULL: COUNTER "iaso_queue_full_total" ["queue"]
        "Times that a queue of the supervisor's was found full.";
    QUEUE_DROPPED: COUNTER "iaso_queue_dropped_total" ["queue"]
        "What a full queue had no room for: looks at containers, history, lines of the flight recorder.";
    LAW_VIOLATIONS: COUNTER "iaso_law_violations_total" ["law"]
        "Decisions that a law forbade, and that were dropped.";
}

/// What the library tells of the process itself on Linux, in its words.
#[cfg(test)]
pub(super) const PROCESS: &[Metric] = &[
    process("process_cpu_seconds_total", MetricType::COUNTER, "Total user and system CPU time spent in seconds."),
    process("process_max_fds", MetricType::GAUGE, "Maximum number of open file descriptors."),
    process("process_open_fds", MetricType::GAUGE, "Number of open file descriptors."),
    process("process_resident_memory_bytes", MetricType::GAUGE, "Resident memory size in bytes."),
    process("process_start_time_seconds", MetricType::GAUGE, "Start time of the process since unix epoch in seconds."),
    process("process_threads", MetricType::GAUGE, "Number of OS threads in the process."),
    process("process_virtual_memory_bytes", MetricType::GAUGE, "Virtual memory size in bytes."),
];

#[cfg(test)]
const fn process(name: &'static str, kind: MetricType, help: &'static str) -> Metric {
    Metric { name, kind, labels: &[], help }
}
