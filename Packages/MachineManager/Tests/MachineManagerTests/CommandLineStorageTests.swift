import Testing

@testable import MachineManager

@Suite struct CommandLineStorageTests {
    @Test func drive_defaults() throws {
        let drive = try #require(try parse(["-drive", "id=d,file=f"]).drives.first)
        #expect(drive == VmConfig.Drive(id: "d", file: "f"))
        #expect(!drive.isReadOnly && drive.isDirect && !drive.discards && drive.asyncIO == .automatic)
    }

    @Test func drive_everyParameter() throws {
        let value = "id=d,file=f,if=none,format=raw,readonly=on,direct=off,aio=threads,media=disk,discard=unmap,detect-zeroes=off"
        let drive = try #require(try parse(["-drive", value]).drives.first)
        #expect(drive.isReadOnly && !drive.isDirect && drive.discards && drive.asyncIO == .threads)
        #expect(try parse(["-drive", "id=d,file=f,aio=io_uring"]).drives.first?.asyncIO == .ioUring)
        #expect(try parse(["-drive", "id=d,file=f,aio=native"]).drives.first?.asyncIO == .native)
        #expect(try parse(["-drive", "id=d,file=f,aio=off,direct=off"]).drives.first?.asyncIO == .off)
        #expect(try parse(["-drive", "id=d,file=f,throttling.iops-total=1000000"]).drives.first?.throttle[.requestsTotal].average == 1_000_000)
        #expect(try parse(["-drive", "id=d,file=f,throttling.iops-total=0"]).drives.first?.throttle.isUnlimited == true)
        #expect(try parse(["-drive", "id=d,file=f,detect-zeroes=on"]).drives.first?.zeroDetection == .on)
        #expect(try parse(["-drive", "id=d,file=f,detect-zeroes=unmap"]).drives.first?.zeroDetection == .unmap)
    }

    @Test(arguments: [
        ("file=f", "-drive: id= is missing"),
        ("id=d", "-drive: file= is missing"),
        ("id=d,file=", "-drive: file= needs a value"),
        ("id=d,file=f,direct=off,aio=native", "-drive: aio=native needs direct=on"),
        ("id=d,file=f,aio=off", "-drive: aio=off needs direct=off"),
        ("id=d,file=f,aio=epoll", "-drive: aio= must be native, io_uring, threads or off, not 'epoll'"),
        ("id=d,file=f,format=qcow2", "-drive format=qcow2: not supported yet"),
        ("id=d,file=f,format=vmdk", "-drive: format= must be raw, not 'vmdk'"),
        ("if=pflash,unit=0,file=f", "-drive if=pflash: not supported yet"),
        ("id=d,file=f,media=cdrom", "-drive media=cdrom: not supported yet"),
        ("id=d,file=f,detect-zeroes=perhaps", "-drive: detect-zeroes= must be off, on or unmap, not 'perhaps'"),
        (
            "id=d,file=f,throttling.iops-total=1000001",
            "-drive: throttling.iops-total= must be a number from 0 to 1000000, not '1000001'"
        ),
        ("id=d,file=f,l2-cache-size=1M", "-drive l2-cache-size=: not supported yet"),
        ("id=d,file=f,readonly=perhaps", "-drive: readonly= must be on or off, not 'perhaps'"),
        ("id=d,file=f,readonly", "-drive: readonly= needs a value"),
        ("id=d,file=f,file=g", "-drive: file= is given more than once"),
        ("id=d,file=f,cache=yes", "-drive: cache= must be none, writeback, writethrough, directsync or unsafe, not 'yes'"),
        ("id=d,file=f,cache=none,direct=on", "-drive: direct= and cache= exclude each other"),
        ("id=d,file=f,cache.direct=on,direct=on", "-drive: direct= and cache.direct= exclude each other"),
        ("id=d,file=f,cache=writeback,aio=native", "-drive: aio=native needs direct=on"),
        ("id=d,file=f,throttling.bps-total=1,throttling.bps-write=1", "-drive: throttling.bps-total= and throttling.bps-write= exclude each other"),
        ("id=d,file=f,throttling.iops-total=1,throttling.iops-read=1", "-drive: throttling.iops-total= and throttling.iops-read= exclude each other"),
        ("id=d,file=f,throttling.iops-read-max=5", "-drive: throttling.iops-read-max= needs throttling.iops-read="),
        (
            "id=d,file=f,throttling.iops-read-max=5,throttling.iops-read=6",
            "-drive: throttling.iops-read-max= must not be below throttling.iops-read="
        ),
        ("id=d,file=f,throttling.bps-read=6,throttling.bps-read-max-length=5", "-drive: throttling.bps-read-max-length= needs throttling.bps-read-max="),
        (
            "id=d,file=f,throttling.bps-read=6,throttling.bps-read-max=1000000000000000,throttling.bps-read-max-length=2",
            "-drive: throttling.bps-read-max-length= is too long for so large a burst"
        ),
        (
            "id=d,file=f,throttling.bps-read=6,throttling.bps-read-max-length=0",
            "-drive: throttling.bps-read-max-length= must be a number from 1 to 4294967295, not '0'"
        ),
        ("id=d,file=f,throttling.iops-size=4096,throttling.bps-total=1", "-drive: throttling.iops-size= needs a limit of requests"),
        ("id=d,file=f,throttling.group=a", "-drive: unknown parameter 'throttling.group'"),
        ("rootfs", "-drive: unknown parameter 'rootfs'"),
        ("id=" + String(repeating: "d", count: 256) + ",file=f", "-drive: id= is longer than 255 bytes"),
        ("id=d,file=" + String(repeating: "f", count: 4096), "-drive: file= is longer than 4095 bytes"),
    ])
    func drive_wrongValues(_ value: String, _ expected: String) {
        #expect(message("-drive", value) == expected)
    }

    @Test func drives_canFollowOneOption() throws {
        #expect(try parse(["-drive", "id=a,file=f", "id=b,file=g", "-S", "-drive", "id=c,file=h"]).drives.map(\.id) == ["a", "b", "c"])
        #expect(message("-drive", "id=a,file=f", "-drive", "id=a,file=g") == "-drive: id 'a' is used twice")
    }

    @Test func device_beforeItsDrive_isUnderstood() throws {
        let config = try parse(["-device", "virtio-blk-device,drive=a,id=x,serial=01234567890123456789", "-drive", "id=a,file=f"])
        var expected = VmConfig.VirtioBlock(id: "x", drive: "a")
        expected.serial = "01234567890123456789"
        #expect(config.devices == [.virtioBlock(expected)])
    }

    @Test(arguments: [
        ("", "-device: needs a device"),
        ("floppy", "-device: unknown device 'floppy'"),
        ("drive=a", "-device: unknown device 'drive=a'"),
        ("virtio-blk-device", "-device virtio-blk-device: drive= is missing"),
        ("virtio-blk-device,drive=b", "-device virtio-blk-device: there is no -drive with id 'b'"),
        ("virtio-blk-device,drive=a,serial=012345678901234567890", "-device virtio-blk-device: serial= is longer than 20 bytes"),
        ("virtio-blk-device,drive=a,iothread=t", "-device virtio-blk-device: there is no -object iothread with id 't'"),
        ("virtio-blk-device,drive=a,bus=pcie.0", "-device virtio-blk-device: bus= is for PCI devices, which a microvm has none of"),
        ("virtio-blk-device,drive=a,addr=0x3", "-device virtio-blk-device: addr= is for PCI devices, which a microvm has none of"),
        ("virtio-blk-device,drive=a,num-queues=33", "-device virtio-blk-device: num-queues= must be a number from 1 to 32, not '33'"),
        ("virtio-blk-device,drive=a,num-queues=0", "-device virtio-blk-device: num-queues= must be a number from 1 to 32, not '0'"),
        ("virtio-blk-device,drive=a,queue-size=3", "-device virtio-blk-device: queue-size= must be a power of two from 4 to 1024, not '3'"),
        ("virtio-blk-device,drive=a,queue-size=96", "-device virtio-blk-device: queue-size= must be a power of two from 4 to 1024, not '96'"),
        ("virtio-blk-device,drive=a,queue-size=2048", "-device virtio-blk-device: queue-size= must be a power of two from 4 to 1024, not '2048'"),
        ("virtio-blk-device,drive=a,bootindex=256", "-device virtio-blk-device: bootindex= must be a number from 0 to 255, not '256'"),
        ("virtio-blk-device,drive=a,id=" + String(repeating: "i", count: 256), "-device virtio-blk-device: id= is longer than 255 bytes"),
        ("virtio-blk-device,drive=a,color=red", "-device virtio-blk-device: unknown parameter 'color'"),
    ])
    func device_wrongValues(_ value: String, _ expected: String) {
        #expect(message("-drive", "id=a,file=f", "-device", value) == expected)
    }

    @Test func devices_shareNeitherIdsNorDrives() {
        let drives = ["id=a,file=f", "id=b,file=g"]
        #expect(
            message("-drive", drives[0], drives[1], "-device", "virtio-blk-device,drive=a,id=x", "virtio-blk-device,drive=b,id=x")
                == "-device virtio-blk-device: id 'x' is used twice")
        #expect(
            message("-drive", drives[0], "-device", "virtio-blk-device,drive=a", "-device", "virtio-blk-device,id=x,drive=a")
                == "-device virtio-blk-device: drive 'a' is used by two devices")
    }

    @Test func device_parametersOfOtherTransports_areAcceptedWithoutEffect() throws {
        let words = ["-drive", "id=a,file=f", "-device"]
        let plain = try parse(words + ["virtio-blk-device,drive=a"])
        #expect(try parse(words + ["virtio-blk-device,drive=a,bootindex=1"]) == plain)
    }

    @Test func device_queues() throws {
        var expected = VmConfig.VirtioBlock(drive: "a")
        #expect(expected.queueCount == 1 && expected.queueSize == 256)
        expected.queueCount = 4
        expected.queueSize = 1024
        let config = try parse(["-drive", "id=a,file=f", "-device", "virtio-blk-device,drive=a,num-queues=4,queue-size=1024"])
        #expect(config.devices == [.virtioBlock(expected)])
    }

    @Test(arguments: [
        ("", true, true, false), ("cache=none", true, true, false), ("cache=writeback", false, true, false), ("cache=writethrough", false, false, false),
        ("cache=directsync", true, false, false), ("cache=unsafe", false, true, true), ("cache=writeback,cache.direct=on", true, true, false),
        ("cache=unsafe,cache.no-flush=off", false, true, false), ("cache.direct=off,cache.no-flush=on,cache.writeback=off", false, false, true),
        ("direct=off,cache.no-flush=on", false, true, true),
    ])
    func drive_cache(_ words: String, _ isDirect: Bool, _ isWriteback: Bool, _ ignoresFlushes: Bool) throws {
        let drive = try #require(try parse(["-drive", "id=d,file=f" + (words.isEmpty ? "" : ",\(words)")]).drives.first)
        #expect(drive.isDirect == isDirect && drive.writesThrough == !isWriteback && drive.ignoresFlushes == ignoresFlushes)
    }

    @Test func drive_limits() throws {
        let words = "throttling.bps-read=1000,throttling.bps-read-max=2000,throttling.bps-read-max-length=3,throttling.bps-write=5,throttling.iops-write=7,throttling.iops-size=512"
        var expected = VmConfig.Throttle()
        expected[.bytesRead] = .init(average: 1000, burst: 2000, burstSeconds: 3)
        expected[.bytesWrite].average = 5
        expected[.requestsWrite].average = 7
        expected.requestSize = 512
        #expect(try parse(["-drive", "id=d,file=f,\(words)"]).drives.first?.throttle == expected)
        #expect(!expected.isUnlimited && VmConfig.Throttle().isUnlimited)
    }

    @Test func device_iothread_isFoundWhereverItIsNamed() throws {
        let config = try parse(["-device", "virtio-blk-device,drive=a,iothread=t", "-object", "iothread,id=t", "-drive", "id=a,file=f"])
        guard case .virtioBlock(let device)? = config.devices.first else { return #expect(Bool(false)) }
        #expect(device.iothread == "t" && config.iothreads.map(\.id) == ["t"])
    }
}
