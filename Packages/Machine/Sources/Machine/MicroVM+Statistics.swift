internal import CPU
internal import Devices
internal import Hypervisor
internal import LinuxSys
public import MachineManager
internal import Virtio

/// What is counted: by KVM for the machine and its vCPUs, by this program for its vCPUs and devices. The event loop's thread.
extension MicroVM {
    public func statisticsSources(_ target: StatisticsTarget) -> [StatisticsSource] {
        switch target {
        case .vm: StatisticsProvider.allCases.map { StatisticsSource($0, .vm) }
        case .vcpu:
            StatisticsProvider.allCases.flatMap { provider in
                vcpus.map { StatisticsSource(provider, .vcpu, path: CPUInfo.path(id: UInt32($0.id))) }
            }
        case .device: devices().filter { transport(of: $0.id) != nil }.map { StatisticsSource(.stratovirt, .device, path: DeviceInfo.path(id: $0.id)) }
        }
    }

    public func statistics(of source: StatisticsSource) -> [Statistic] {
        switch (source.target, source.provider) {
        case (.vm, .kvm): hypervisor.statistics().map(Statistic.init)
        case (.vm, .stratovirt): platform.bootTimer.marks.statistics + [.nanoseconds("uptime", ProgramStart.elapsed), .count("trace-lines-left-out", Trace.leftOut)]
        case (.vcpu, .kvm): vcpu(source)?.statistics.map(Statistic.init) ?? []
        case (.vcpu, .stratovirt): vcpu(source)?.exits.statistics ?? []
        case (.device, .kvm): []
        case (.device, .stratovirt): device(source)?.statistics.list ?? []
        }
    }

    private func vcpu(_ source: StatisticsSource) -> VCPU? { vcpus.first { CPUInfo.path(id: UInt32($0.id)) == source.path } }

    private func device(_ source: StatisticsSource) -> VirtioMMIODevice? {
        devices().first { DeviceInfo.path(id: $0.id) == source.path }.flatMap { transport(of: $0.id) }
    }

    private func transport(of device: String) -> VirtioMMIODevice? {
        (blockSlots + networkSlots).first { $0.occupant?.device == device }?.transport ?? fixedDevices.first { $0.info.id == device }?.transport
    }

    /// Of a disk that the guest sees.
    func blockStatistics(of device: String) -> BlockNodeStatistics? {
        transport(of: device)?.inspect(VirtioBlock.self) { $0.statistics }.map(BlockNodeStatistics.init)
    }
}

extension Statistic {
    fileprivate init(_ statistic: HypervisorStatistic) {
        let kind: Kind =
            switch statistic.kind {
            case .cumulative: .cumulative
            case .instant: .instant
            case .peak: .peak
            case .linearHistogram(let bucketSize): .linearHistogram(bucketSize: bucketSize)
            case .logHistogram: .logHistogram
            }
        let unit: Unit? =
            switch statistic.unit {
            case .none: nil
            case .bytes: .bytes
            case .seconds: .seconds
            case .cycles: .cycles
            case .boolean: .boolean
            }
        let value: Value =
            if statistic.values.count == 1, let number = statistic.values.first {
                unit == .boolean ? .boolean(number != 0) : .scalar(number)
            } else { .list(statistic.values) }
        self.init(statistic.name, value, kind: kind, unit: unit, base: statistic.base, exponent: statistic.exponent)
    }
}

extension BootTimer.Marks {
    /// Nothing for a mark that the guest has not set.
    fileprivate var statistics: [Statistic] {
        [("boot-kernel", kernel), ("boot-init", initialProcess)].compactMap { name, time in time.map { .nanoseconds(name, $0) } }
    }
}

extension VCPUExitCounts {
    fileprivate var statistics: [Statistic] {
        [
            .count("exits", total), .count("pio-reads", portReads), .count("pio-writes", portWrites), .count("mmio-reads", mmioReads),
            .count("mmio-writes", mmioWrites), .count("halts", halts), .count("shutdowns", shutdowns), .count("interruptions", interruptions),
            .count("other-exits", others),
        ]
    }
}

extension DeviceStatistics {
    /// Sums over the queues, what concerns the device as a whole, each queue's numbers as a list, and what devices of the kind have.
    fileprivate var list: [Statistic] {
        let numbers: [(String, Statistic.Unit?, KeyPath<QueueStatistics, UInt64>)] = [
            ("requests", nil, \.requests), ("bytes-from-guest", .bytes, \.bytesFromGuest), ("bytes-to-guest", .bytes, \.bytesToGuest),
            ("notifications", nil, \.notifications), ("stalls", nil, \.stalls),
        ]
        return numbers.map { name, unit, path in Statistic(name, .scalar(queues.reduce(0) { $0 &+ $1[keyPath: path] }), unit: unit) }
            + [
                .count("interrupts", interrupts), .count("dropped-requests", droppedRequests), .count("ignored-accesses", ignoredAccesses),
                .count("activations", activations), .count("resets", resets), .count("resets-requested", resetsRequested),
            ]
            + (numbers + [("interrupts", nil, \.interrupts)]).map { name, unit, path in
                Statistic("queue-\(name)", .list(queues.map { $0[keyPath: path] }), unit: unit)
            }
            + counters.map { .count($0.name, $0.value) }
    }
}

extension BlockNodeStatistics {
    fileprivate init(_ statistics: BlockStatistics) {
        self.init()
        reads = Operations(statistics.reads)
        writes = Operations(statistics.writes)
        flushes = Operations(statistics.flushes)
        discards = Operations(statistics.discards)
        highestWrite = statistics.highestWrite
        idle = statistics.lastAccess.map { last in
            let now = Clock.monotonicNanoseconds()
            return now > last ? now &- last : 0
        }
    }
}

extension BlockNodeStatistics.Operations {
    fileprivate init(_ operations: BlockStatistics.Operations) {
        self.init()
        count = operations.count
        bytes = operations.bytes
        time = operations.time
        merged = operations.merged
        failed = operations.failed
        invalid = operations.invalid
    }
}
