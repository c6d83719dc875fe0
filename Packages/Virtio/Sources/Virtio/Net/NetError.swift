public import LinuxSys

/// Why a network back end cannot be used. Thrown only while it is opened; each names the `-netdev` at fault.
public enum NetError: Error, Equatable, Sendable {
    /// Neither an interface, nor a device file, nor descriptors.
    case noInterface(netdev: String)
    /// Not 1...15 bytes, or with a byte that an interface's name cannot have.
    case badInterfaceName(netdev: String, name: String)
    case queueCount(netdev: String, count: Int)
    /// The number of descriptors is not that of the queues.
    case descriptorCount(netdev: String, descriptors: Int, queues: Int)
    case duplicateDescriptor(netdev: String, descriptor: Int32)
    case cannotOpen(netdev: String, path: String, Errno)
    case cannotAttach(netdev: String, interface: String, Errno)
    case notATap(netdev: String, descriptor: Int32, Errno?)
    /// Opened without IFF_VNET_HDR.
    case noHeader(netdev: String, descriptor: Int32)
    /// One of several descriptors was opened without IFF_MULTI_QUEUE.
    case notMultiQueue(netdev: String, descriptor: Int32)
    case otherInterface(netdev: String, descriptor: Int32, interface: String, expected: String)
    case cannotConfigure(netdev: String, interface: String, Errno)
    case vhostCount(netdev: String, descriptors: Int, queues: Int)
    case vhost(netdev: String, VhostError)
    case cannotConnect(netdev: String, address: StreamAddress, Errno)
    case cannotListen(netdev: String, address: StreamAddress, Errno)
    case notAStream(netdev: String, descriptor: Int32, Errno)
    /// It listens where a connection is wanted, or the other way round.
    case wrongStream(netdev: String, descriptor: Int32, listens: Bool)
}

extension NetError: CustomStringConvertible {
    /// One sentence for the user.
    public var description: String {
        switch self {
        case .noInterface(let netdev): "-netdev \(netdev): a tap needs ifname, fd or fds"
        case .badInterfaceName(let netdev, let name): "-netdev \(netdev): '\(name)' is no interface name; it must have 1 to 15 bytes, no blank, '/' or ':'"
        case .queueCount(let netdev, let count): "-netdev \(netdev): \(count) queues are not possible; the limit is \(NetOptions.maximumQueuePairs)"
        case .descriptorCount(let netdev, let descriptors, let queues): "-netdev \(netdev): \(descriptors) descriptors were given for \(queues) queues"
        case .duplicateDescriptor(let netdev, let descriptor): "-netdev \(netdev): descriptor \(descriptor) is given twice"
        case .cannotOpen(let netdev, let path, let error): "-netdev \(netdev): cannot open '\(path)': \(error)"
        case .cannotAttach(let netdev, let interface, let error): "-netdev \(netdev): cannot use interface '\(interface)': \(error)"
        case .notATap(let netdev, let descriptor, nil): "-netdev \(netdev): descriptor \(descriptor) is a tun, not a tap"
        case .notATap(let netdev, let descriptor, let error?): "-netdev \(netdev): descriptor \(descriptor) is not a tap: \(error)"
        case .noHeader(let netdev, let descriptor): "-netdev \(netdev): the tap of descriptor \(descriptor) was opened without IFF_VNET_HDR"
        case .notMultiQueue(let netdev, let descriptor): "-netdev \(netdev): the tap of descriptor \(descriptor) was opened without IFF_MULTI_QUEUE"
        case .otherInterface(let netdev, let descriptor, let interface, let expected):
            "-netdev \(netdev): descriptor \(descriptor) is of interface '\(interface)', the first one of '\(expected)'"
        case .cannotConfigure(let netdev, let interface, let error): "-netdev \(netdev): cannot configure interface '\(interface)': \(error)"
        case .vhostCount(let netdev, let descriptors, let queues): "-netdev \(netdev): \(descriptors) vhost descriptors were given for \(queues) queues"
        case .vhost(let netdev, let error): "-netdev \(netdev): \(error)"
        case .cannotConnect(let netdev, let address, let error): "-netdev \(netdev): cannot connect to \(address): \(error)"
        case .cannotListen(let netdev, let address, let error): "-netdev \(netdev): cannot listen on \(address): \(error)"
        case .notAStream(let netdev, let descriptor, let error): "-netdev \(netdev): descriptor \(descriptor) is not a stream socket that can be used: \(error)"
        case .wrongStream(let netdev, let descriptor, true): "-netdev \(netdev): the socket of descriptor \(descriptor) listens, which needs server=on"
        case .wrongStream(let netdev, let descriptor, false): "-netdev \(netdev): the socket of descriptor \(descriptor) does not listen, as server=on needs"
        }
    }
}
