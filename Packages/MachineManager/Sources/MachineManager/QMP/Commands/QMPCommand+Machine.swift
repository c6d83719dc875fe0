internal import LinuxSys

extension QMPCommand {
    /// What the machine is made of.
    static var machine: [QMPCommand] {
        [
            QMPCommand("query-target", gives: .object([.required("arch", .choice(GuestArchitecture.allCases.map(\.target)))])) { _, context in
                .value(["arch": .string(context.control.architecture.target)])
            },
            QMPCommand("query-kvm", gives: .object([.required("enabled", .boolean), .required("present", .boolean)])) { _, context in
                let acceleration = context.control.acceleration()
                return .value(["enabled": .bool(acceleration.isEnabled), "present": .bool(acceleration.isPresent)])
            },
            QMPCommand("query-machines", gives: .list(machineType)) { _, _ in .value(QMPAnswers.machines) },
            QMPCommand("query-cpus", gives: .list(cpu)) { _, context in
                .value(.array(context.control.cpus().map { QMPAnswers.cpu($0, context.control.architecture) }))
            },
            QMPCommand("query-hotpluggable-cpus", gives: .list(cpuSlot)) { _, context in
                .value(.array(context.control.cpuSlots().map { QMPAnswers.slot($0, context.control.architecture) }))
            },
            QMPCommand("query-iothreads", gives: .list(iothread)) { _, context in
                .value(.array(context.control.iothreads().map(QMPAnswers.iothread)))
            },
            QMPCommand("query-mem", run: logMemory),
            // There is no choice: what the machine has. KVM has it; nothing here emulates it.
            QMPCommand("query-gic-capabilities", gives: .list(gic)) { _, context in
                guard let version = context.control.gicVersion() else { return .value([]) }
                return .value([["version": .integer(version == .v2 ? 2 : 3), "emulated": false, "kernel": true]])
            },
            // libvirt asks, and takes GenericError for "no SEV".
            QMPCommand("query-sev-capabilities", gives: .nothing) { _, _ throws(QMPError) in
                throw QMPError("query-sev-capabilities: SEV is not available")
            },
        ]
    }

    private static var machineType: QMPType {
        .object([
            .required("name", .text), .optional("is-default", .boolean), .required("cpu-max", .integer), .required("hotpluggable-cpus", .boolean),
            .required("numa-mem-supported", .boolean), .required("deprecated", .boolean),
        ])
    }

    private static var place: QMPType {
        .object([
            .required("socket-id", .integer), .required("die-id", .integer), .required("core-id", .integer), .required("thread-id", .integer),
            .optional("node-id", .integer),
        ])
    }

    private static var cpu: QMPType {
        .object([
            .required("CPU", .integer), .required("current", .boolean), .required("halted", .boolean), .required("qom_path", .text),
            .required("thread_id", .integer), .required("arch", .choice(GuestArchitecture.allCases.map(\.processor))), .required("props", place),
        ])
    }

    private static var cpuSlot: QMPType {
        .object([
            .required("type", .text), .required("vcpus-count", .integer), .required("props", place), .optional("qom-path", .text),
        ])
    }

    private static var iothread: QMPType {
        .object([
            .required("id", .text), .required("thread-id", .integer), .required("poll-max-ns", .integer), .required("poll-grow", .integer),
            .required("poll-shrink", .integer),
        ])
    }

    private static var gic: QMPType {
        .object([.required("version", .integer), .required("emulated", .boolean), .required("kernel", .boolean)])
    }

    /// The memory map goes to the log, not to the client, as in StratoVirt.
    private static func logMemory(_ arguments: QMPArguments, _ context: QMPContext) throws(QMPError) -> QMPAnswer {
        guard Log.isEnabled(.info) else { return .done }
        for entry in context.control.memoryMap() {
            let end = entry.base &+ entry.size &- 1
            Log.info("memory map: 0x\(String(entry.base, radix: 16))-0x\(String(end, radix: 16)) \(entry.isMemory ? "memory" : "io") \(entry.name)")
        }
        return .done
    }
}
