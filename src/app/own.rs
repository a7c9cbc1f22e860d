//! Whether Iaso runs in a container, and in which.

use crate::engine::ContainerId;

/// The container that this process runs in: the engine mounts files of its own making (`/etc/hostname` and others) from a
/// folder named after the container's id.
pub(super) fn container() -> Option<ContainerId> {
    std::fs::read_to_string("/proc/self/mountinfo").ok().and_then(|mounts| container_in(&mounts))
}

fn container_in(mountinfo: &str) -> Option<ContainerId> {
    let ours = mountinfo.lines().filter(|line| {
        line.split(' ')
            .nth(4)
            .is_some_and(|target| matches!(target, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf"))
    });
    ours.flat_map(|line| line.split(['/', ' '])).find_map(ContainerId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_s_own_mounts_tell_the_container() {
        let id = "3f4e".repeat(16);
        let inside = format!(
            "603 587 254:0 /var/lib/docker/containers/{id}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw\n\
             604 587 254:0 /var/lib/docker/containers/{id}/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw\n"
        );
        assert_eq!(container_in(&inside), ContainerId::new(&id));
        let outside = format!("29 1 254:0 /var/lib/docker/containers/{id}/shm /somewhere rw - tmpfs shm rw\n");
        assert_eq!(container_in(&outside), None);
    }
}
