"""Sensors of machines that are emulated as folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam_edge.host.sensors import energy_j, power_w, temperature_c


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / "sys/class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


JETSON = {
    "thermal/thermal_zone0/temp": "48250\n",
    "thermal/thermal_zone1/temp": "51000\n",
    # A zone that is switched off.
    "thermal/thermal_zone2/temp": "-256000\n",
    "hwmon/hwmon1/name": "ina3221\n",
    "hwmon/hwmon1/in1_label": "VDD_IN\n",
    "hwmon/hwmon1/in1_input": "4960\n",
    "hwmon/hwmon1/curr1_input": "1480\n",
    "hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "hwmon/hwmon1/in2_input": "4952\n",
    "hwmon/hwmon1/curr2_input": "416\n",
}


def test_a_jetson(tmp_path: Path) -> None:
    root = write(tmp_path, JETSON)
    assert temperature_c(root) == 51.0
    assert power_w(root) == pytest.approx(4.96 * 1.48)
    assert energy_j(root) is None


def test_a_laptop(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "thermal/thermal_zone0/temp": "61000",
            "powercap/intel-rapl:0/energy_uj": "5000000",
            "powercap/intel-rapl:0:0/energy_uj": "3000000",
            "powercap/intel-rapl:1/energy_uj": "2500000",
        },
    )
    assert (temperature_c(root), power_w(root), energy_j(root)) == (61.0, None, 7.5)


@pytest.mark.parametrize("text", ["", "hot", "nan"])
def test_a_machine_without_sensors_or_with_broken_ones(tmp_path: Path, text: str) -> None:
    assert (temperature_c(tmp_path), power_w(tmp_path), energy_j(tmp_path)) == (None, None, None)
    write(tmp_path, {"thermal/thermal_zone0/temp": text})
    assert temperature_c(tmp_path) is None
