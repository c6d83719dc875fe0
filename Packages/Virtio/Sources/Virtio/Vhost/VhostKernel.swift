public import AddressSpace
internal import LinuxSys

/// A vhost device of the kernel (Linux drivers/vhost): serves rings in guest memory by itself, woken by the guest's kicks and interrupting the guest,
/// without this process.
///
/// Order: open or adopt, `setOwner`, then for each session of the guest `begin`, `start` for each queue and what sets the device type going; at the end what
/// stops the device type, then `stop` for each queue. Under the device's lock, on any thread.
public final class VhostKernel {
    /// All that this kernel's vhost offers; more than a guest may be offered: mask it.
    public let features: UInt64
    /// For requests of one device type.
    public let port: any VhostPort

    /// Opens a device file such as /dev/vhost-net.
    public static func open(path: String) throws(VhostError) -> VhostKernel {
        let file: OwnedFD
        do throws(Errno) { file = try SysFile.open(path, .readWrite) } catch { throw .open(path: path, error) }
        let number = file.raw
        return try VhostKernel(checking: VhostDescriptor(file), descriptor: number)
    }

    /// Takes over a descriptor that somebody else opened, also when it throws.
    public static func adopt(_ descriptor: Int32) throws(VhostError) -> VhostKernel {
        let file = OwnedFD(adopting: descriptor)
        do throws(Errno) {
            // Only a device can be vhost: nothing else is asked, since a request means something else to each kind of file.
            guard try SysFile.status(of: file).kind == .characterDevice else { throw Errno.notTypewriter }
        } catch {
            throw .notVhost(descriptor: descriptor, error)
        }
        return try VhostKernel(checking: VhostDescriptor(file), descriptor: descriptor)
    }

    /// For tests: `port` plays the kernel.
    public convenience init(port: any VhostPort) throws(VhostError) { try self.init(checking: port, descriptor: -1) }

    private init(checking port: any VhostPort, descriptor: Int32) throws(VhostError) {
        self.port = port
        do throws(Errno) { features = try port.perform(.getFeatures) } catch { throw .notVhost(descriptor: descriptor, error) }
        guard features & VirtioFeature.version1 != 0 else { throw .tooOld }
    }

    @discardableResult
    public func perform(_ call: VhostCall) throws(VhostError) -> UInt64 {
        do throws(Errno) { return try port.perform(call) } catch { throw .refused(call, error) }
    }

    /// Ties the device to this process's memory. Once, in the process that runs the guest: not before a fork.
    public func setOwner() throws(VhostError) { try perform(.setOwner) }

    /// Beginning of a session: the negotiated features (what vhost does not know is left out) and the guest's memory.
    ///
    /// The kernel checks each buffer of the guest against this table, which holds writable RAM and nothing else: a descriptor that names registers or
    /// read-only memory is an error there too (the class of CVE-2021-3416).
    public func begin(features negotiated: UInt64, memory: GuestMemory) throws(VhostError) {
        try perform(.setFeatures(negotiated & features))
        try perform(
            .setMemory(memory.writableMappings().map { VhostRegion(guestAddress: $0.base, size: $0.size, hostAddress: UInt64($0.address)) }))
    }

    /// Hands a queue over, as the driver left it at DRIVER_OK, when both indices are 0, or where somebody else has stopped serving it: `base` is the next available
    /// index (the used index the kernel finds in the ring). `kick`, `call` and `error` are eventfds; they stay the caller's, and the
    /// kernel keeps references until `stop`. When it throws, call `stop`.
    public func start(
        queue: UInt32, _ configuration: QueueConfiguration, memory: GuestMemory, base: UInt16 = 0, kick: Int32, call: Int32, error: Int32 = -1
    ) throws(VhostError) {
        let ring: VhostRing
        do throws(QueueFault) { ring = try VhostRing(configuration, memory: memory) } catch { throw .ring(error) }
        try perform(.setRingSize(queue: queue, ring.size))
        try perform(.setRingBase(queue: queue, UInt32(base)))
        try perform(.setRingAddresses(queue: queue, ring))
        try perform(.setCall(queue: queue, call))
        try perform(.setError(queue: queue, error))
        try perform(.setKick(queue: queue, kick))
    }

    /// The kernel lets go of the queue's eventfds: later kicks are this process's again. It waits for what the kernel is doing just now. Before, the device
    /// type must have been stopped. The index of the next available buffer, or nil when the kernel does not say.
    @discardableResult
    public func stop(queue: UInt32) -> UInt16? {
        // Nobody can do anything about a failure, and each step is right without the others.
        for call in [VhostCall.setKick(queue: queue, -1), .setCall(queue: queue, -1), .setError(queue: queue, -1)] {
            _ = try? port.perform(call)
        }
        return (try? port.perform(.getRingBase(queue: queue))).map { UInt16(truncatingIfNeeded: $0) }
    }
}
