// What is more comfortable with JavaScript. Everything works without it, too.
'use strict';
{
  const outcome = () => document.querySelector('[data-outcome]');

  // All of a page at once, and how many are selected.
  const count = () => {
    const boxes = [...document.querySelectorAll('.action-select')];
    const chosen = boxes.filter((box) => box.checked).length;
    const all = document.querySelector('[data-select-all]');
    if (all) {
      all.hidden = false;
      all.checked = chosen > 0 && chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    }
    const said = document.querySelector('[data-count]');
    if (said) said.textContent = chosen ? `${chosen}/${boxes.length}` : '';
  };
  document.addEventListener('change', (event) => {
    if (event.target.matches('[data-select-all]')) {
      for (const box of document.querySelectorAll('.action-select')) box.checked = event.target.checked;
    }
    if (event.target.matches('[data-select-all], .action-select')) count();
  });

  // A search, one step after another, until the end, a full page, or the button is pressed again.
  let isGoing = false;
  const offer = () => {
    const button = document.querySelector('[data-to-the-end]');
    if (!button) return;
    button.hidden = false;
    button.setAttribute('aria-pressed', String(isGoing));
  };
  const step = async (form) => {
    const response = await fetch(form.getAttribute('action') || location.href, {
      method: 'POST', body: new FormData(form), credentials: 'same-origin',
    });
    const page = new DOMParser().parseFromString(await response.text(), 'text/html');
    const next = page.querySelector('[data-outcome]');
    if (!next) throw new Error('no answer');
    const had = document.activeElement && document.activeElement.matches('[data-to-the-end]');
    outcome().replaceWith(next);
    offer();
    count();
    if (had) document.querySelector('[data-to-the-end]')?.focus();
    return response.ok;
  };
  document.addEventListener('click', async (event) => {
    if (!event.target.matches('[data-to-the-end]')) return;
    isGoing = !isGoing;
    offer();
    while (isGoing) {
      const form = document.querySelector('[data-further]');
      if (!form) break;
      try {
        if (!(await step(form)) || document.querySelector('[data-full]')) break;
      } catch {
        form.submit();
        return;
      }
      await new Promise((done) => setTimeout(done, 50));
    }
    isGoing = false;
    offer();
  });

  document.addEventListener('DOMContentLoaded', () => { offer(); count(); });
}
