public import AddressSpace
public import Devices
public import LinuxSys
internal import Synchronization

extension VirtioMMIODevice {
    /// Where a device was put.
    struct Placement: Sendable {
        let slot: SysBusSlot
        let loop: EventLoop
    }

    /// Why a device could not be attached.
    public enum AttachError: Error, Equatable, Sendable, CustomStringConvertible {
        case bus(SysBusError)
        case notification(device: String, AddressSpaceError)
        case eventLoop(device: String, Errno)

        public var description: String {
            switch self {
            case .bus(let error): error.description
            case .notification(let device, let error): "cannot connect the notifications of device \(device): \(error)"
            case .eventLoop(let device, let error): "cannot watch the queues of device \(device): \(error)"
            }
        }
    }

    /// Puts `device` on the bus: an interrupt line, the registers in the next free window, an ioeventfd for each queue, and handlers on
    /// `loop`, whose thread serves the queues. Nothing is left behind when it throws.
    public static func attach(
        _ device: sending any VirtioDevice, name: String, to bus: SysBus, memory: GuestMemory, loop: EventLoop
    ) throws(AttachError) -> VirtioMMIODevice {
        let slot: SysBusSlot
        do throws(SysBusError) { slot = try bus.allocate(name: name) } catch { throw .bus(error) }
        do throws(AttachError) {
            let transport: VirtioMMIODevice
            do throws(Errno) { transport = try VirtioMMIODevice(name: name, device: device, memory: memory, line: slot.line) } catch {
                throw .eventLoop(device: name, error)
            }
            try transport.connect(slot, bus, loop)
            return transport
        } catch {
            bus.release(slot)
            throw error
        }
    }

    private func connect(_ slot: SysBusSlot, _ bus: SysBus, _ loop: EventLoop) throws(AttachError) {
        let region: Region
        do throws(AddressSpaceError) {
            region = try Region.io(name: name, size: MMIORegister.windowSize, ops: RegisterWindow(self))
            for (index, event) in notifications.enumerated() {
                try region.addIOEventFD(offset: MMIORegister.queueNotify.rawValue, size: 4, datamatch: UInt64(index), event: event)
            }
        } catch {
            throw .notification(device: name, error)
        }
        // Before the registers appear: a guest that is running may find them at once.
        do throws(Errno) { try watch(Placement(slot: slot, loop: loop)) } catch { throw .eventLoop(device: name, error) }
        do throws(SysBusError) { try bus.place(region, in: slot) } catch {
            unwatch()
            throw .bus(error)
        }
    }

    /// Address and interrupt; nil unless attached.
    public var slot: SysBusSlot? { watching.withLock { $0.placement?.slot } }

    /// Leaves the event loop and waits for what is in flight; the registers stay, and do nothing. For the end of the machine, when
    /// no vCPU runs any more.
    public func detach() {
        unwatch()
        reset()
    }
}

/// The registers as the address space knows them. Each access counts a reference to this object rather than to the device: sessions refer to that weakly, and
/// the runtime counts such an object in a table beside it, which takes half of the access.
private final class RegisterWindow: RegionOps {
    private let device: VirtioMMIODevice

    init(_ device: VirtioMMIODevice) { self.device = device }

    func read(offset: UInt64, size: Int) -> UInt64 { device.read(offset: offset, size: size) }
    func write(offset: UInt64, size: Int, value: UInt64) { device.write(offset: offset, size: size, value: value) }
}
