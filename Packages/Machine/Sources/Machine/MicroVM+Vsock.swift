internal import MachineManager
internal import Virtio

/// Vsock over unix sockets.
extension MicroVM {
    func socket(_ device: VmConfig.VirtioVsock) throws(MachineError) -> sending VirtioVsock {
        do throws(VirtioVsockError) { return try VirtioVsock.listen(guestCID: device.guestCID, path: device.path) } catch { throw .socketVsock(error) }
    }

    /// While the machine is paused, data for its sockets and programs that ask for one wait outside.
    func setSocketsPaused(_ on: Bool) {
        for transport in transports { transport.update(VirtioVsock.self) { $0.setPaused(on) } }
    }
}
