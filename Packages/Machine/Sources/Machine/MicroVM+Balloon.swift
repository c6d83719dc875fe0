internal import LinuxSys
public import MachineManager
internal import Synchronization
internal import Virtio

/// The balloon of a machine.
struct BalloonNode {
    let config: VmConfig.VirtioBalloon
    let host: BalloonHost
    let reporter: BalloonReporter
}

extension MicroVM {
    func balloon(_ device: VmConfig.VirtioBalloon) throws(MachineError) -> sending VirtioBalloon {
        let auto = device.auto.map { AutoBalloon(bufferPercent: $0.bufferPercent, interval: $0.interval) }
        let options = VirtioBalloon.Options(deflatesOnOOM: device.deflatesOnOOM, reportsFreePages: device.reportsFreePages, auto: auto)
        let balloon: VirtioBalloon
        do throws(Errno) { balloon = try VirtioBalloon(memorySize: config.memory.size, options: options) } catch { throw .balloon(error) }
        let host = balloon.host
        let reporter = BalloonReporter(loop: loop) { [weak self] in self?.emit(.balloonChanged(actual: host.actualSize)) }
        host.watchSize { [weak reporter] in reporter?.sizeChanged() }
        balloonNode = BalloonNode(config: device, host: host, reporter: reporter)
        return balloon
    }

    public func balloon() -> BalloonInfo? {
        guard let node = balloonNode else { return nil }
        let statistics = node.host.statistics
        return BalloonInfo(
            id: node.config.id, actual: node.host.actualSize, deflatesOnOOM: node.config.deflatesOnOOM, reportsFreePages: node.config.reportsFreePages,
            statistics: BalloonStatistics.Kind.allCases.map { statistics.values[$0] }, lastUpdate: statistics.lastUpdate, pollingInterval: node.host.pollingInterval)
    }

    public func setBalloon(_ bytes: UInt64) {
        guard let node = balloonNode else { return }
        node.host.setSize(bytes)
        fixedDevices.first { $0.info.id == node.config.id }?.transport.configurationChanged()
    }

    public func setBalloonPolling(_ seconds: UInt32) { balloonNode?.host.pollingInterval = seconds }
}

/// Tells of the balloon's size at once, and then at most once a second, as QEMU does; what comes in between is told at the second's end.
final class BalloonReporter: Sendable {
    static let interval: UInt64 = 1_000_000_000

    private struct State {
        var hasChanged = false
        /// Something waits in the loop.
        var isWaiting = false
    }

    private let loop: EventLoop
    private let tell: @Sendable () -> Void
    private let state = Mutex(State())

    /// `tell` is called on the loop's thread.
    init(loop: EventLoop, tell: @escaping @Sendable () -> Void) {
        self.loop = loop
        self.tell = tell
    }

    /// Any thread, as often as a guest likes: one thing waits in the loop at most.
    func sizeChanged() {
        let isFirst = state.withLock { state in
            state.hasChanged = true
            defer { state.isWaiting = true }
            return !state.isWaiting
        }
        if isFirst { loop.post { [weak self] in self?.report() } }
    }

    private func report() {
        let isNews = state.withLock { state in
            defer { state.hasChanged = false }
            if !state.hasChanged { state.isWaiting = false }
            return state.hasChanged
        }
        guard isNews else { return }
        tell()
        loop.after(nanoseconds: Self.interval) { [weak self] in self?.report() }
    }
}
