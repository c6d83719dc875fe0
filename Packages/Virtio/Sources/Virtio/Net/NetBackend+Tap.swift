internal import CTap
internal import LinuxSys

/// The queues of a tap, and the kernel's vhost-net for them if wished.
struct TapBackend: Sendable {
    /// The host's interface.
    let interface: String
    let queues: [TapQueue]
    let hasUFO: Bool
    /// Queues can be taken in and out of use.
    let isMultiQueue: Bool
    /// One for each queue; empty without vhost.
    let vhost: [VhostNet]
}

/// How a tap is found.
public struct TapOptions: Sendable {
    public enum Vhost: Sendable, Equatable {
        case off
        /// Opens /dev/vhost-net for each queue.
        case open
        /// One for each queue; ownership goes over.
        case descriptors([Int32])
    }

    /// The `-netdev`'s id, for messages.
    public var netdev: String
    /// The interface's name; it is made if it does not exist and we may (CAP_NET_ADMIN).
    public var name: String?
    /// A device file instead of /dev/net/tun, such as a macvtap's.
    public var path: String?
    /// Open taps, one for each queue; ownership goes over. `name` and `path` count for nothing then.
    public var descriptors: [Int32]
    public var queues: Int
    public var vhost: Vhost

    public init(netdev: String, name: String? = nil, path: String? = nil, descriptors: [Int32] = [], queues: Int = 1, vhost: Vhost = .off) {
        self.netdev = netdev
        self.name = name
        self.path = path
        self.descriptors = descriptors
        self.queues = queues
        self.vhost = vhost
    }
}

/// Without a tap there are none.
extension NetBackend {
    var queues: [TapQueue] { tap?.queues ?? [] }
    var vhost: [VhostNet] { tap?.vhost ?? [] }
    var isMultiQueue: Bool { tap?.isMultiQueue ?? false }
    var hasUFO: Bool { tap?.hasUFO ?? false }

    convenience init(name: String, interface: String, queues: [TapQueue], hasUFO: Bool, isMultiQueue: Bool, vhost: [VhostNet] = []) {
        self.init(name: name, .tap(TapBackend(interface: interface, queues: queues, hasUFO: hasUFO, isMultiQueue: isMultiQueue, vhost: vhost)))
    }
}

extension NetBackend {
    static let deviceFile = "/dev/net/tun"

    /// Opens or adopts a tap. The descriptors in `options` are owned here from now on: closed when it throws, or with the back end.
    public static func openTap(_ options: TapOptions) throws(NetError) -> NetBackend {
        let netdev = options.netdev
        let owned = GivenDescriptors(options.descriptors)
        var vhostNumbers: [Int32] = []
        if case .descriptors(let numbers) = options.vhost { vhostNumbers = numbers }
        // A number that is in both lists is closed once.
        let ownedVhost = GivenDescriptors(vhostNumbers, except: options.descriptors)
        if let duplicate = owned.duplicate ?? ownedVhost.duplicate { throw .duplicateDescriptor(netdev: netdev, descriptor: duplicate) }
        guard (1...NetOptions.maximumQueuePairs).contains(options.queues) else { throw .queueCount(netdev: netdev, count: options.queues) }
        if case .descriptors = options.vhost, vhostNumbers.count != options.queues {
            throw .vhostCount(netdev: netdev, descriptors: vhostNumbers.count, queues: options.queues)
        }
        var tap: Tap
        if options.descriptors.isEmpty {
            tap = try open(options)
        } else {
            guard options.descriptors.count == options.queues else {
                throw .descriptorCount(netdev: netdev, descriptors: options.descriptors.count, queues: options.queues)
            }
            tap = try adopt(owned, netdev)
        }
        tap.hasUFO = try configure(tap, netdev)
        let vhost: [VhostNet]
        switch options.vhost {
        case .off: vhost = []
        case .open: vhost = try tap.queues.map { (_) throws(NetError) in try VhostNet.open(netdev: netdev) }
        case .descriptors: vhost = try vhostNumbers.map { (number) throws(NetError) in try VhostNet.adopt(ownedVhost.take(number).take(), netdev: netdev) }
        }
        return NetBackend(
            name: netdev, interface: tap.interface, queues: tap.queues, hasUFO: tap.hasUFO, isMultiQueue: tap.isMultiQueue, vhost: vhost)
    }

    private struct Tap {
        var interface: String
        var queues: [TapQueue]
        var isMultiQueue: Bool
        var hasUFO = false
    }

    // MARK: By name

    private static func open(_ options: TapOptions) throws(NetError) -> Tap {
        let netdev = options.netdev
        let path = options.path ?? deviceFile
        // A device file of its own has its interface; /dev/net/tun asks for a name.
        guard options.name != nil || options.path != nil else { throw .noInterface(netdev: netdev) }
        if let name = options.name, !isInterfaceName(name) { throw .badInterfaceName(netdev: netdev, name: name) }
        guard !path.utf8.contains(0) else { throw .cannotOpen(netdev: netdev, path: path, .noEntry) }
        var tap = Tap(interface: options.name ?? "", queues: [], isMultiQueue: options.queues > 1)
        for _ in 0..<options.queues {
            let file: OwnedFD
            do throws(Errno) { file = OwnedFD(adopting: Int32(truncatingIfNeeded: try checked(unsafe ctap_open(path)))) } catch {
                throw .cannotOpen(netdev: netdev, path: path, error)
            }
            do throws(Errno) {
                // The kernel's name counts from the first queue on: it need not be the one that was asked for.
                tap.interface = try attach(file.raw, tap.interface, isMultiQueue: tap.isMultiQueue)
                tap.queues.append(try TapQueue(file))
            } catch {
                throw .cannotAttach(netdev: netdev, interface: options.name ?? path, error)
            }
        }
        return tap
    }

    /// What the kernel takes (dev_valid_name), without the `%` that would make it choose a number.
    static func isInterfaceName(_ name: String) -> Bool {
        guard (1...Int(CTAP_NAME_SIZE) - 1).contains(name.utf8.count), name != ".", name != ".." else { return false }
        return name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: "%") }
    }

    private static func attach(_ descriptor: Int32, _ name: String, isMultiQueue: Bool) throws(Errno) -> String {
        var buffer = [CChar](repeating: 0, count: Int(CTAP_NAME_SIZE))
        for (index, byte) in name.utf8.prefix(buffer.count - 1).enumerated() { buffer[index] = CChar(bitPattern: byte) }
        try checked(unsafe buffer.withUnsafeMutableBufferPointer { unsafe ctap_attach(descriptor, $0.baseAddress.unsafelyUnwrapped, isMultiQueue) })
        return text(buffer)
    }

    private static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    // MARK: By descriptor

    private static func adopt(_ owned: GivenDescriptors, _ netdev: String) throws(NetError) -> Tap {
        var tap = Tap(interface: "", queues: [], isMultiQueue: true)
        for number in owned.numbers {
            var buffer = [CChar](repeating: 0, count: Int(CTAP_NAME_SIZE))
            let flags: Int32
            do throws(Errno) {
                flags = Int32(truncatingIfNeeded: try checked(unsafe buffer.withUnsafeMutableBufferPointer {
                    unsafe ctap_query(number, $0.baseAddress.unsafelyUnwrapped)
                }))
            } catch {
                throw .notATap(netdev: netdev, descriptor: number, error)
            }
            func has(_ flag: Int) -> Bool { Int(flags) & flag != 0 }
            guard has(Int(CTAP_IS_TAP)) else { throw .notATap(netdev: netdev, descriptor: number, nil) }
            guard has(Int(CTAP_HAS_HEADER)) else { throw .noHeader(netdev: netdev, descriptor: number) }
            if !has(Int(CTAP_IS_MULTI_QUEUE)) {
                guard owned.numbers.count == 1 else { throw .notMultiQueue(netdev: netdev, descriptor: number) }
                tap.isMultiQueue = false
            }
            let interface = text(buffer)
            if tap.queues.isEmpty { tap.interface = interface }
            guard interface == tap.interface else {
                throw .otherInterface(netdev: netdev, descriptor: number, interface: interface, expected: tap.interface)
            }
            do throws(Errno) {
                try checked(ctap_adopt(number))
                tap.queues.append(try TapQueue(owned.take(number)))
            } catch {
                throw .cannotConfigure(netdev: netdev, interface: interface, error)
            }
        }
        return tap
    }

    /// True when the kernel has UFO for this tap.
    private static func configure(_ tap: Tap, _ netdev: String) throws(NetError) -> Bool {
        guard let first = tap.queues.first else { throw .noInterface(netdev: netdev) }
        do throws(Errno) {
            for queue in tap.queues { try checked(ctap_set_header_size(queue.receiveDescriptor, Int32(NetHeader.size))) }
            var hasUFO = true
            do throws(Errno) { try first.setOffloads(UInt32(CTAP_CHECKSUM) | UInt32(CTAP_UFO)) } catch { hasUFO = false }
            // Nobody has negotiated anything yet.
            try first.setOffloads(0)
            return hasUFO
        } catch {
            throw .cannotConfigure(netdev: netdev, interface: tap.interface, error)
        }
    }
}
